// Representation Surgery: a merged model and, for each task, a small adapter behind its features that moves them to
// those of the task's expert.
//
// Source:  Yang et al., "Representation Surgery for Multi-Task Model Merging", ICML 2024, arXiv:2402.02705.
// Differs: one batch per task and step, as FusionBench; the adapter is in front of a frozen projection of CLIP, which
//          belongs to the head. The features of both models never change, so each input passes through them once, and
//          steps draw from the rows. Of answers that are tokens the rows are those of the merged model's own answers.
// Cost:    one forward pass of all inputs through the merged model and one through the expert; steps read features.

#include "fusion/whole_model/surgery.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/whole_model/adam.h"
#include "models/feeder.h"

namespace fusegrid::methods::surgery {
namespace {

constexpr int64_t kPassBatch = 64;  // inputs of one pass

class SurgicalModel final : public Predictor {
 public:
  SurgicalModel(Weights merged, std::map<std::string, FeatureAdapter> adapters)
      : merged_(std::move(merged)), adapters_(std::move(adapters)) {}

  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    if (!ask.task) {
      throw AccessError("an adapter of a task needs the task's identity");
    }
    const auto adapter = adapters_.find(*ask.task);
    if (adapter == adapters_.end()) {
      throw ConfigError("there is no adapter for task '" + *ask.task + "', which no fused expert owns");
    }
    if (!are_held_in(merged_, network.precision)) {
      return held_in(network.precision)->output(network, inputs, ask);
    }
    const at::Tensor features = network.features(merged_, inputs, {.memory = ask.memory});
    return network.read(merged_, adapter->second(features), ask.head);
  }
  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<SurgicalModel>(rounded(merged_, precision), adapters_);
  }
  Weights weights() const override {
    Weights all = merged_;
    for (const auto& [task, adapter] : adapters_) {
      all.emplace("adapter/" + task + "/down", adapter.down);
      all.emplace("adapter/" + task + "/up", adapter.up);
    }
    return all;
  }

 private:
  Weights merged_;
  std::map<std::string, FeatureAdapter> adapters_;  // by task
};

// Of the same inputs, [rows, width] each.
struct FeatureRows {
  at::Tensor merged;
  at::Tensor expert;
};

FeatureRows feature_rows(const FusionInput& in, const Weights& merged, const Weights& expert,
                         const std::string& task) {
  const PrecisionScope scope(in.network().precision);
  const Network& network = in.network();
  const Weights own = rounded(expert, network.precision);
  std::vector<at::Tensor> of_merged;
  std::vector<at::Tensor> of_expert;
  feed(network, in.inputs_to_adapt_on(task), kPassBatch, [&](const Inputs& ready, const at::Tensor&) {
    const Inputs inputs = in.kind(task).completed(ready, asker_of(network, merged, task));
    of_merged.push_back(counting_features(network.features(merged, inputs), inputs));
    of_expert.push_back(counting_features(network.features(own, inputs), inputs));
    in.tick();
  });
  return {concatenate(of_merged), concatenate(of_expert)};
}

// Batches of rows, shuffled once per epoch.
class RowBatches {
 public:
  RowBatches(uint64_t key, int64_t rows, int64_t batch) : key_(key), rows_(rows), batch_(batch) {}
  at::Tensor next(at::Device device) {
    std::vector<int64_t> chosen;
    while (static_cast<int64_t>(chosen.size()) < batch_) {
      if (position_ == order_.size()) {
        order_ = permutation(key_, epoch_++, rows_);
        position_ = 0;
      }
      chosen.push_back(order_[position_++]);
    }
    return at::tensor(chosen, at::kLong).to(device);
  }

 private:
  uint64_t key_;
  int64_t rows_, batch_;
  uint64_t epoch_ = 0;
  std::vector<int64_t> order_;
  size_t position_ = 0;
};

FeatureAdapter trained_adapter(const FusionInput& in, const SurgeryOptions& options, const std::string& task,
                               const FeatureRows& rows) {
  std::vector<FeatureAdapter> adapters{new_adapter(in, task, 0, rows.merged.size(1), options.rank)};
  LeafTraining training(tensors_of(adapters), options.lr);
  RowBatches batches(derive_key(in.seed(), "surgery/batches/" + task), rows.merged.size(0), options.batch);
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::AutoGradMode with_gradients(true);
    const at::Tensor chosen = batches.next(rows.merged.device());
    const at::Tensor apart =
        adapters[0](rows.merged.index_select(0, chosen)) - rows.expert.index_select(0, chosen);
    apart.abs().mean().backward();
    training.step();
    in.tick();
  }
  return adapters[0];
}

FusedModel fuse(const FusionInput& in, const SurgeryOptions& options) {
  const Weights merged = merge_before_surgery(in, options);
  const Weights held = rounded(merged, in.network().precision);
  std::map<std::string, FeatureAdapter> adapters;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    for (const std::string& task : in.tasks_of(i)) {
      adapters.emplace(task, trained_adapter(in, options, task, feature_rows(in, held, in.expert(i), task)));
    }
  }
  const auto model = std::make_shared<SurgicalModel>(merged, std::move(adapters));
  return {model, static_cast<double>(num_parameters(model->weights())), {}};
}

const RegisterMethod<SurgeryOptions> registered{
    surgery_card("surgery", "Representation Surgery", "Yang et al., ICML 2024, arXiv:2402.02705",
                 R"(z      = features of the merged model
z^(i)  = z - U_i relu(D_i z),   [D_i] = [rank, width]
D_i, U_i minimise the mean |z^(i) - features of theta_i| over inputs of task i)"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::surgery
