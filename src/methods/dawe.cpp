// DAWE, data-adaptive weight ensembling: task arithmetic whose coefficients are those of each input, made by a small
// network from what the base makes of it.
//
// Source:  FusionBench's DataAdaptiveWeightEnsembling (Tang et al., 2024, arXiv:2406.03280), which is unfinished and
//          has no paper of its own.
// Differs: the features are the base's own, where the original takes those of a pretrained ResNet-18; so everything
//          that the method sees is in the zoo. Coefficients are of affine layers, whose products x W(x)^T are summed
//          expert by expert without building W(x); all other tensors are those of task arithmetic. They are each
//          input's in training too, where the original takes the batch's mean, and one for each expert: of its
//          coefficients for each layer nothing is here. Batches have 16 inputs, not 1.
// Cost:    `steps` forward passes of the base and forward and backward passes of the mixture, of batch inputs per task;
//          inference runs the base, and computes all affine layers N + 1 times.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/adaptation.h"
#include "fusion/whole_model/routed_mlp.h"

namespace fusegrid::methods::dawe {
namespace {

struct Options {
  double scale = 0.3;
  int64_t layers = 1;
  double lr = 1e-5;
  int64_t steps = 1000;
  int64_t batch = 16;
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "of the task arithmetic that it starts from");
    v.param("layers", layers, Range{0, 2},
            "layers of the network that makes coefficients (0: the same for all inputs)");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// "gate.<layer>.weight|bias"
std::string gate_name(int64_t layer, const char* part) {
  return "gate." + std::to_string(layer) + "." + part;
}

// Rows of an expert are functions of its name, so that the order of the experts is no matter.
Weights new_gate(const FusionInput& in, const Options& options, int64_t features) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  Weights gate;
  if (options.layers == 2) {
    const at::Tensor random = normal(derive_key(in.seed(), "dawe/hidden"), 0, 0, features * features);
    gate[gate_name(0, "weight")] = random.view({features, features}) * 0.01;
    gate[gate_name(0, "bias")] = at::zeros({features});
  }
  std::vector<at::Tensor> rows;
  for (const std::string& name : in.expert_names()) {
    rows.push_back(normal(derive_key(in.seed(), "dawe/gate/" + name), 0, 0, features).unsqueeze(0));
  }
  const int64_t last = options.layers == 2 ? 1 : 0;
  if (options.layers > 0) {
    gate[gate_name(last, "weight")] = concatenate(rows) * (options.layers == 2 ? 0.01 : 0.001);
  }
  gate[gate_name(last, "bias")] = at::full({experts}, options.scale);
  for (auto& [name, tensor] : gate) {
    tensor = tensor.to(in.device());
  }
  return gate;
}

class AdaptiveModel final : public Predictor {
 public:
  AdaptiveModel(const FusionInput& in, const Options& options)
      : options_(options),
        base_(in.base()),
        taus_(in.num_experts()),
        gate_(new_gate(in, options, in.network().architecture->feature_size())) {
    const Field sum = in.task_vector_sum();
    body_ =
        in.map_elements([&](const Slice& slice) { return at::add(slice.base(), slice[sum], options.scale); });
    for (const Layer& layer : in.network().architecture->layers()) {
      for (const std::string& name : {layer.weight, layer.bias}) {
        const auto tensor = base_.find(name);
        if (tensor == base_.end()) {
          continue;  // a layer without bias
        }
        body_[name] = tensor->second;
        for (size_t i = 0; i < taus_.size(); ++i) {
          taus_[i].emplace(name, in.expert(i).at(name) - tensor->second);
        }
      }
    }
  }

  // The gate stays float32 and is shared, so that training that of the copy trains this.
  AdaptiveModel copy_held_in(Precision precision) const {
    AdaptiveModel held = *this;
    held.base_ = rounded(base_, precision);
    held.body_ = rounded(body_, precision);
    for (Weights& tau : held.taus_) {
      tau = rounded(tau, precision);
    }
    return held;
  }
  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<AdaptiveModel>(copy_held_in(precision));
  }

  at::Tensor features(const Network& network, const Inputs& inputs) const {
    if (!are_held_in(body_, network.precision)) {
      return copy_held_in(network.precision).features(network, inputs);
    }
    const at::Tensor coefficients = coefficients_of(network, inputs);
    const Pass mixing{
        [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          at::Tensor y = at::linear(x, weight, bias);
          std::vector<int64_t> of_input(static_cast<size_t>(x.dim()), 1);
          of_input.front() = x.size(0);
          for (size_t i = 0; i < taus_.size(); ++i) {
            const at::Tensor tau = taus_[i].at(layer.weight).flatten(1);
            const at::Tensor of_bias = bias.defined() ? taus_[i].at(layer.bias) : at::Tensor();
            const at::Tensor lambda = coefficients.select(1, static_cast<int64_t>(i)).view(of_input);
            y = y + at::linear(x, tau, of_bias) * lambda.to(y.dtype());
          }
          return y;
        }};
    return network.features(body_, inputs, mixing);
  }
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    return network.read(body_, features(network, inputs), ask.head);
  }

  const Weights& body() const { return body_; }
  Weights& gate() { return gate_; }

  Weights weights() const override {
    Weights all = body_;
    for (const auto& [name, tensor] : base_) {
      if (!taus_.front().contains(name)) {
        all.emplace(name + "/base", tensor);
      }
    }
    for (size_t i = 0; i < taus_.size(); ++i) {
      for (const auto& [name, tensor] : taus_[i]) {
        all.emplace(name + "/tau" + std::to_string(i), tensor);
      }
    }
    for (const auto& [name, tensor] : gate_) {
      all.emplace(name, tensor.detach());
    }
    return all;
  }

 private:
  // [n, experts]
  at::Tensor coefficients_of(const Network& network, const Inputs& inputs) const {
    at::Tensor seen;
    {
      const at::NoGradGuard no_gradients;
      seen = network.features(base_, inputs).to(at::kFloat);
      seen = seen.dim() == 2 ? seen : seen.flatten(1, -2).mean(1);  // of maps
    }
    std::vector<RouterLayer> layers;
    for (int64_t layer = 0; layer < std::max<int64_t>(options_.layers, 1); ++layer) {
      const auto weight = gate_.find(gate_name(layer, "weight"));
      layers.push_back(
          {weight == gate_.end() ? at::Tensor() : weight->second, gate_.at(gate_name(layer, "bias"))});
    }
    return router_gates(layers, seen.unsqueeze(1), {}).squeeze(1);
  }

  Options options_;
  Weights base_;
  Weights body_;               // the base's affine layers, of all else task arithmetic
  std::vector<Weights> taus_;  // the experts' task vectors of affine layers
  Weights gate_;
};

void train_gate(const FusionInput& in, const Options& options, AdaptiveModel& model) {
  const AdaptiveModel held = model.copy_held_in(in.network().precision);
  AdaptationStream stream(in, options.batch, "dawe");
  LeafTraining training(model.gate(), options.lr);
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::AutoGradMode with_gradients(true);
    const PrecisionScope scope(in.network().precision);
    const AdaptationStream::Step next = stream.next();
    entropy_loss(in, held.body(), next.by_task, held.features(in.network(), next.inputs)).backward();
    training.step();
    in.tick();
  }
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  auto model = std::make_shared<AdaptiveModel>(in, options);
  train_gate(in, options, *model);
  return {model, static_cast<double>(num_parameters(model->weights())), {}};
}

const RegisterMethod<Options> registered{
    {.name = "dawe",
     .title = "DAWE",
     .paper = "FusionBench (Tang et al., 2024, arXiv:2406.03280)",
     .formula =
         R"(affine layers  W(x) = W_0 + sum_i lambda_i(x) tau_i for weights and biases,   lambda(x) = gate(features of theta_0 for x)
others         theta = theta_0 + scale * sum_i tau_i
gate: 0, 1 or 2 layers; its last bias starts at scale, so that training starts at task arithmetic; it minimises the entropy of the predictions)",
     .family = Family::kRouting,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
     .demands = {Demand::kLayers, Demand::kHeads, Demand::kDistribution},
     .yields = Yields::kRoutedModel,
     .random = true,
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::dawe
