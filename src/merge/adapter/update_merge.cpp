#include "merge/adapter/update_merge.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "comm/collectives.h"
#include "core/errors.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/engines/gathering_sink.h"
#include "fusion/engines/stream_engine.h"
#include "fusion/fusion_input.h"
#include "fusion/method.h"

namespace fusegrid::adapters {
namespace {

StreamModels models_of(const ModelSource& base, const std::vector<const ModelSource*>& experts) {
  return {.base = &base, .experts = experts, .tensors = base.tensors(), .rounded_to = {}};
}

StreamModels models_of(const AdapterInputs& inputs) {
  std::vector<const ModelSource*> experts;
  for (const auto& expert : inputs.experts) {
    experts.push_back(expert.get());
  }
  return models_of(*inputs.base, experts);
}

size_t outputs_of(const Method& method, size_t adapters) {
  return method.card.yields == Yields::kModelPerTask ? adapters : 1;
}

// stages: the tensors of each
void run(const StreamModels& models, const std::vector<std::vector<size_t>>& stages,
         const std::vector<std::string>& names, const MergeMethod& call, const UpdateMergeOptions& options,
         StreamSink& sink) {
  const Method& method = method_registry().at(call.name);
  StreamConfiguration configuration;
  configuration.with_base = true;
  configuration.outputs = outputs_of(method, names.size());
  configuration.fuse = [&](Engine& engine) {
    StatisticsCache cache(0, "", engine.device());
    const FusionInput input(streamed_context(method, engine, cache, names, options.seed));
    method.fuse(input, call.parameters);
  };
  const StreamLayout layout(models.tensors, stages, 1, slice_elements(options.device));
  const auto group = local_collectives();
  StreamSession session(models, layout, *group, sink,
                        {.memory_limit_bytes = options.memory_limit_bytes,
                         .threads = options.threads,
                         .device = options.device,
                         .progress = options.progress,
                         .tick = [] {}});
  session.run({configuration});
}

std::vector<std::vector<size_t>> one_stage(size_t tensors) {
  std::vector<std::vector<size_t>> stages(1);
  for (size_t i = 0; i < tensors; ++i) {
    stages.front().push_back(i);
  }
  return stages;
}

std::vector<Weights> whole_results(const StreamModels& models, const std::vector<std::string>& names,
                                   const MergeMethod& call, const UpdateMergeOptions& options) {
  const auto group = local_collectives();
  const size_t outputs = outputs_of(method_registry().at(call.name), names.size());
  GatheringSink sink(models.tensors, outputs, *group, at::kCPU);
  run(models, one_stage(models.tensors.size()), names, call, options, sink);
  std::vector<Weights> results;
  for (size_t i = 0; i < outputs; ++i) {
    results.push_back(sink.take(i));
  }
  return results;
}

// Cuts every tensor of the results to its rank once it is there; stage k is tensor k.
class CuttingSink final : public StreamSink {
 public:
  CuttingSink(const std::vector<TensorInfo>& tensors, size_t outputs, const RankRule& rule,
              const UpdateMergeOptions& options)
      : tensors_(tensors), rule_(rule), options_(options), results_(outputs) {}

  bool is_finished(size_t, size_t) const override { return false; }
  void write(size_t output, size_t stage, const StreamRange& range, const void* data) override {
    std::memcpy(whole(output, stage).mutable_data_ptr<float>() + range.begin, data,
                static_cast<size_t>(range.count) * sizeof(float));
  }
  void finish(size_t output, size_t stage) override {
    waiting_.emplace_back(output, stage);
    if (waiting_.size() >= static_cast<size_t>(std::max(options_.threads, 1))) {
      cut();
    }
  }
  bool wants_inputs(size_t) const override { return false; }
  void see_input(size_t, const StreamRange&, const void*, int64_t) override {}
  void finish_inputs(size_t) override {}

  std::vector<std::map<std::string, LowRankUpdate>> take() {
    cut();
    return std::move(results_);
  }

 private:
  at::Tensor whole(size_t output, size_t tensor) {
    const std::scoped_lock lock(mutex_);
    at::Tensor& values = values_[{output, tensor}];
    if (!values.defined()) {
      values = at::empty(tensors_[tensor].shape, at::TensorOptions(at::kFloat));
    }
    return values;
  }

  void cut() {
    std::vector<LowRankUpdate> updates(waiting_.size());
    in_parallel(options_.threads, waiting_.size(), [&](size_t i) {
      at::set_num_threads(1);  // sums must not depend on the number of threads
      const at::NoGradGuard no_gradients;
      const auto [output, tensor] = waiting_[i];
      updates[i] = cut_to_rank(whole(output, tensor).to(options_.device), rule_,
                               "what the merge makes of '" + tensors_[tensor].name + "'");
    });
    const std::scoped_lock lock(mutex_);
    for (size_t i = 0; i < updates.size(); ++i) {
      const auto [output, tensor] = waiting_[i];
      results_[output].emplace(tensors_[tensor].name, std::move(updates[i]));
      values_.erase(waiting_[i]);
    }
    waiting_.clear();
  }

  const std::vector<TensorInfo>& tensors_;
  const RankRule& rule_;
  const UpdateMergeOptions& options_;
  std::mutex mutex_;
  std::map<std::pair<size_t, size_t>, at::Tensor> values_;  // by output and tensor
  std::vector<std::pair<size_t, size_t>> waiting_;
  std::vector<std::map<std::string, LowRankUpdate>> results_;
};

// A few numbers that float32 adds up exactly.
class SmallModel final : public ModelSource {
 public:
  SmallModel(const std::vector<TensorInfo>& tensors, uint64_t key, const SmallModel* base)
      : tensors_(tensors) {
    uint64_t stream = 0;
    for (const TensorInfo& info : tensors_) {
      at::Tensor values = (normal(key, stream++, 0, info.numel()).view(info.shape) * 64).round() / 64;
      values_.emplace(info.name, base == nullptr ? values : values + base->values_.at(info.name));
    }
  }
  explicit SmallModel(const std::vector<TensorInfo>& tensors) : tensors_(tensors) {  // zeros
    for (const TensorInfo& info : tensors_) {
      values_.emplace(info.name, at::empty(info.shape, at::TensorOptions(at::kFloat)).zero_());
    }
  }
  std::string name() const override { return "a rehearsal"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    std::memcpy(destination, values_.at(name).const_data_ptr<float>() + begin,
                static_cast<size_t>(count) * sizeof(float));
  }
  void check_unchanged() const override {}
  const Weights& values() const { return values_; }

 private:
  std::vector<TensorInfo> tensors_;
  Weights values_;
};

// What the method adds to `base`, of the same updates whatever that is.
std::vector<Weights> added_to(const SmallModel& base, const MergeMethod& call, size_t adapters,
                              uint64_t seed) {
  std::vector<SmallModel> experts;
  std::vector<const ModelSource*> sources;
  std::vector<std::string> names;
  experts.reserve(adapters);
  for (size_t i = 0; i < adapters; ++i) {
    experts.emplace_back(base.tensors(), 1 + i, &base);
    sources.push_back(&experts.back());
    names.push_back("adapter" + std::to_string(i));
  }
  UpdateMergeOptions options;
  options.seed = seed;
  options.threads = 0;
  auto results = whole_results(models_of(base, sources), names, call, options);
  for (Weights& result : results) {
    for (auto& [name, values] : result) {
      values = values - base.values().at(name);
    }
  }
  return results;
}

}  // namespace

void check_merges_updates(const MergeMethod& call, size_t adapters, uint64_t seed) {
  constexpr double kRounding = 1e-4;
  const std::vector<TensorInfo> tensors{{"layers.0.weight", {8, 6}, at::kFloat},
                                        {"layers.1.weight", {6, 8}, at::kFloat}};
  const auto upon_zeros = added_to(SmallModel(tensors), call, adapters, seed);
  const auto upon_others = added_to(SmallModel(tensors, 0, nullptr), call, adapters, seed);
  for (size_t i = 0; i < upon_zeros.size(); ++i) {
    for (const auto& [name, values] : upon_zeros[i]) {
      const double most = (values - upon_others[i].at(name)).abs().max().item<double>();
      if (!(most <= kRounding * std::max(1.0, values.abs().max().item<double>()))) {
        throw ConfigError("a merge of adapters knows their updates alone, but what method '" + call.name +
                          "' makes depends on the weights of the base and the models themselves; merge whole "
                          "models with 'fusegrid merge --base BASE', then cut the result to an adapter with "
                          "'fusegrid adapter extract'");
      }
    }
  }
}

std::vector<std::map<std::string, LowRankUpdate>> merge_updates(const AdapterInputs& inputs,
                                                                const MergeMethod& call, const RankRule& rule,
                                                                const UpdateMergeOptions& options) {
  const StreamModels models = models_of(inputs);
  std::vector<std::vector<size_t>> stages;
  for (size_t i = 0; i < models.tensors.size(); ++i) {
    stages.push_back({i});
  }
  std::vector<std::string> names;
  for (const MergeExpert& adapter : inputs.adapters) {
    names.push_back(adapter.name);
  }
  CuttingSink sink(models.tensors, outputs_of(method_registry().at(call.name), names.size()), rule, options);
  run(models, stages, names, call, options, sink);
  return sink.take();
}

std::vector<Weights> merge_vectors(const AdapterInputs& inputs, const MergeMethod& call,
                                   const UpdateMergeOptions& options) {
  std::vector<std::string> names;
  for (const MergeExpert& adapter : inputs.adapters) {
    names.push_back(adapter.name);
  }
  return whole_results(models_of(inputs), names, call, options);
}

}  // namespace fusegrid::adapters
