// SurgeryV2: Representation Surgery behind every block of the merged model, not behind the last alone.
//
// Source:  Yang et al., "SurgeryV2: Bridging the Gap Between Model Merging and Multi-Task Learning with Deep
//          Representation Surgery", 2024, arXiv:2410.14389.
// Differs: one batch per task and step. The mean over tokens is over those that count.
// Cost:    per step and task a forward and a backward pass through the merged model and a forward pass through the
//          expert; inference adds two small products to each block.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>

#include "fusion/demands.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/surgery.h"
#include "models/operators.h"

namespace fusegrid::methods::surgery_v2 {
namespace {

using Adapters = std::vector<FeatureAdapter>;  // one behind each block, and one behind the features

// What the model's blocks give.
struct Trace {
  at::Tensor features;
  std::vector<at::Tensor> means;  // [n, width] of each block: over the tokens that count
};

// Which of a row's tokens count, those of its answer included.
at::Tensor lengths_of(const Inputs& inputs) {
  return inputs.answer.defined() ? inputs.lengths + inputs.answer_lengths : inputs.lengths;
}

// adapters: none, or those of a task. means: whether they are asked for.
Trace run(const Network& network, const Weights& weights, const Inputs& inputs, const Adapters* adapters,
          bool means) {
  const Blocks& blocks = required_blocks("surgery_v2", *network.architecture);
  const at::Tensor mask = blocks.mask(inputs);
  Trace trace;
  at::Tensor x = blocks.embed(weights, inputs);
  for (int64_t block = 0; block < blocks.size(); ++block) {
    x = blocks.attention(weights, block, x, mask, {});
    x = blocks.add_mlp(weights, block, x,
                       blocks.mlp(weights, block, blocks.mlp_input(weights, block, x), {}));
    if (adapters != nullptr) {
      x = (*adapters)[static_cast<size_t>(block)](x);
    }
    if (means) {
      trace.means.push_back(pooled(x.to(at::kFloat), lengths_of(inputs), Pooling::kMean));
    }
  }
  const at::Tensor features = blocks.finish(weights, x, inputs, network.pooling(inputs));
  trace.features = adapters != nullptr ? adapters->back()(features) : features;
  return trace;
}

class DeepSurgicalModel final : public Predictor {
 public:
  DeepSurgicalModel(Weights merged, std::map<std::string, Adapters> adapters)
      : merged_(std::move(merged)), adapters_(std::move(adapters)) {}

  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    if (!ask.task) {
      throw AccessError("adapters of a task need the task's identity");
    }
    const auto adapters = adapters_.find(*ask.task);
    if (adapters == adapters_.end()) {
      throw ConfigError("there are no adapters for task '" + *ask.task + "', which no fused expert owns");
    }
    if (!are_held_in(merged_, network.precision)) {
      return held_in(network.precision)->output(network, inputs, ask);
    }
    return network.read(merged_, run(network, merged_, inputs, &adapters->second, false).features, ask.head);
  }
  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<DeepSurgicalModel>(rounded(merged_, precision), adapters_);
  }
  Weights weights() const override {
    Weights all = merged_;
    for (const auto& [task, adapters] : adapters_) {
      for (size_t place = 0; place < adapters.size(); ++place) {
        const std::string prefix = "adapter/" + task + "/" + std::to_string(place);
        all.emplace(prefix + "/down", adapters[place].down);
        all.emplace(prefix + "/up", adapters[place].up);
      }
    }
    return all;
  }

 private:
  Weights merged_;
  std::map<std::string, Adapters> adapters_;  // by task
};

Adapters new_adapters(const FusionInput& in, const std::string& task, int64_t rank) {
  const Architecture& architecture = *in.network().architecture;
  const Blocks& blocks = required_blocks("surgery_v2", architecture);
  Adapters adapters;
  for (int64_t block = 0; block < blocks.size(); ++block) {
    adapters.push_back(new_adapter(in, task, block, blocks.width(), rank));
  }
  adapters.push_back(new_adapter(in, task, blocks.size(), architecture.feature_size(), rank));
  return adapters;
}

// The sum over blocks of the mean distance of their means, and the mean distance of the features.
at::Tensor distance(const Trace& own, const Trace& expert, const Inputs& inputs) {
  at::Tensor sum =
      (counting_features(own.features, inputs) - counting_features(expert.features, inputs)).abs().mean();
  for (size_t block = 0; block < own.means.size(); ++block) {
    sum = sum + (own.means[block] - expert.means[block]).abs().mean();
  }
  return sum;
}

struct TaskSurgery {
  const Weights& expert;
  Adapters adapters;
};

void train(const FusionInput& in, const SurgeryOptions& options, const Weights& merged,
           std::vector<TaskSurgery>& tasks) {
  const Network& network = in.network();
  std::vector<std::unique_ptr<LeafTraining>> training;
  for (TaskSurgery& task : tasks) {
    training.push_back(std::make_unique<LeafTraining>(tensors_of(task.adapters), options.lr));
  }
  AdaptationStream stream(in, options.batch, "surgery_v2");
  for (int64_t step = 0; step < options.steps; ++step) {
    const PrecisionScope scope(network.precision);
    const AdaptationStream::Step next = stream.next(asker_of(network, merged, in.tasks().front()));
    for (size_t i = 0; i < tasks.size(); ++i) {
      const Inputs& inputs = next.by_task[i];
      const Trace expert = run(network, tasks[i].expert, inputs, nullptr, true);
      const at::AutoGradMode with_gradients(true);
      distance(run(network, merged, inputs, &tasks[i].adapters, true), expert, inputs).backward();
      training[i]->step();
    }
    in.tick();
  }
}

FusedModel fuse(const FusionInput& in, const SurgeryOptions& options) {
  const Weights merged = merge_before_surgery(in, options);
  const Precision precision = in.network().precision;
  std::vector<Weights> experts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    experts.push_back(rounded(in.expert(i), precision));
  }
  std::vector<TaskSurgery> tasks;  // in the order of in.tasks()
  for (size_t i = 0; i < in.num_experts(); ++i) {
    for (const std::string& task : in.tasks_of(i)) {
      tasks.push_back({experts[i], new_adapters(in, task, options.rank)});
    }
  }
  train(in, options, rounded(merged, precision), tasks);
  std::map<std::string, Adapters> adapters;
  for (size_t i = 0; i < tasks.size(); ++i) {
    adapters.emplace(in.tasks()[i], tasks[i].adapters);
  }
  const auto model = std::make_shared<DeepSurgicalModel>(merged, std::move(adapters));
  return {model, static_cast<double>(num_parameters(model->weights())), {}};
}

MethodCard card() {
  MethodCard card = surgery_card(
      "surgery_v2", "SurgeryV2", "Yang et al., 2024, arXiv:2410.14389",
      R"(behind each block l and behind the features  x^(i) = x - U_i^l relu(D_i^l x),   of each token
D_i, U_i minimise sum_l mean |mean over tokens of x^(i),l - the same of theta_i| + mean |z^(i) - z of theta_i|)");
  card.demands = {Demand::kBlocks};
  return card;
}

const RegisterMethod<SurgeryOptions> registered{card(), fuse};

}  // namespace
}  // namespace fusegrid::methods::surgery_v2
