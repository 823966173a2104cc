#include "merge/rehearsal.h"

#include <algorithm>
#include <cstring>

#include "core/philox.h"
#include "fusion/compat/compat.h"
#include "fusion/fusion_input.h"
#include "merge/merge.h"

namespace fusegrid {
namespace {

constexpr int64_t kElements = 64;

class RandomModel final : public ModelSource {
 public:
  explicit RandomModel(uint64_t key) : values_(normal(key, 0, 0, kElements)) {}
  std::string name() const override { return "rehearsal"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read_range(const std::string&, int64_t begin, int64_t count, void* destination) const override {
    std::memcpy(destination, values_.const_data_ptr<float>() + begin,
                static_cast<size_t>(count) * sizeof(float));
  }
  void check_unchanged() const override {}

 private:
  at::Tensor values_;
  std::vector<TensorInfo> tensors_{{"weight", {8, 8}, at::kFloat}};
};

class NullSink final : public StreamSink {
 public:
  bool is_finished(size_t, size_t) const override { return false; }
  void write(size_t, size_t, const StreamRange&, const void*) override {}
  void finish(size_t, size_t) override {}
  bool wants_inputs(size_t) const override { return false; }
  void see_input(size_t, const StreamRange&, const void*, int64_t) override {}
  void finish_inputs(size_t) override {}
};

void fuse(const MergePlan& plan, const MergeMethod& call, const ParamText& parameters,
          const std::vector<size_t>& experts, Engine& engine) {
  const Method& method = method_registry().at(call.name);
  StatisticsCache cache(0, "", engine.device());
  std::vector<std::string> tasks;
  for (size_t i = 0; i < plan.spec.experts.size(); ++i) {
    if (experts.empty() || std::find(experts.begin(), experts.end(), i) != experts.end()) {
      tasks.push_back(plan.spec.experts[i].name);
    }
  }
  const FusionInput input(streamed_context(method, engine, cache, tasks, plan.spec.seed));
  if (plan.spec.precision == MergePrecision::kCompat) {
    fuse_compat(call.name, input, parameters);
  } else {
    method.fuse(input, parameters);
  }
}

StreamPart stream_part(const MergePlan& plan, const MergePart& part) {
  StreamPart stream{{}, part.experts};
  for (const TensorInfo& info : plan.models.tensors) {
    stream.tensors.push_back(part.tensors.contains(info.name));
  }
  return stream;
}

}  // namespace

std::vector<StreamConfiguration> configurations_of(const MergePlan& plan) {
  std::vector<StreamConfiguration> all;
  for (size_t i = 0; i < plan.spec.methods.size(); ++i) {
    const MergeMethod& call = plan.spec.methods[i];
    const auto is_of_call = [&](const MergeOutput& output) { return output.method == i; };
    const auto first = std::find_if(plan.outputs.begin(), plan.outputs.end(), is_of_call);
    StreamConfiguration configuration;
    configuration.first_output = static_cast<size_t>(first - plan.outputs.begin());
    configuration.outputs = static_cast<size_t>(std::count_if(first, plan.outputs.end(), is_of_call));
    configuration.with_base = method_registry().at(call.name).card.needs.contains(Need::kPretrained);
    configuration.fuse = [&plan, &call](Engine& engine) { fuse(plan, call, call.parameters, {}, engine); };
    if (call.parts.empty()) {
      all.push_back(configuration);
    }
    for (const MergePart& part : call.parts) {
      configuration.part = stream_part(plan, part);
      configuration.fuse = [&plan, &call, &part](Engine& engine) {
        fuse(plan, call, part.parameters, part.experts, engine);
      };
      all.push_back(configuration);
    }
  }
  return all;
}

StreamStats rehearse(const MergePlan& plan) {
  std::vector<RandomModel> sources;
  for (size_t i = 0; i <= plan.spec.experts.size(); ++i) {
    sources.emplace_back(i);
  }
  StreamModels models;
  models.base = plan.models.base != nullptr ? &sources.back() : nullptr;
  for (size_t i = 0; i < plan.spec.experts.size(); ++i) {
    models.experts.push_back(&sources[i]);
  }
  models.tensors = sources.front().tensors();
  const StreamLayout layout(models.tensors, {{0}}, 1, slice_elements(plan.spec.device));
  const auto group = local_collectives();
  NullSink sink;
  // on the device, as methods make other passes there
  const at::Device device = plan.spec.device;
  StreamSession session(models, layout, *group, sink, {.threads = device.is_cpu() ? 0 : 1, .device = device});
  auto configurations = configurations_of(plan);
  for (StreamConfiguration& configuration : configurations) {
    configuration.part.tensors.clear();  // each sees the one that there is
  }
  session.run(configurations);
  return session.stats();
}

}  // namespace fusegrid
