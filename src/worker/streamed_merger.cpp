#include "worker/streamed_merger.h"

#include <limits>
#include <memory>
#include <numeric>

#include "comm/agreement.h"
#include "core/errors.h"
#include "fusion/cell_merge.h"
#include "fusion/engines/gathering_sink.h"
#include "fusion/engines/stream_engine.h"
#include "fusion/fusion_input.h"
#include "models/stored_parameters.h"
#include "worker/executor.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {
namespace {

constexpr int kDeviceThreads = 4;  // that read for a GPU; an executor's own thread reads for a CPU

// A method on one rank of a stream; what it returns has weights without data.
FusedModel fuse(const Cell& cell, const std::vector<std::string>& experts, Engine& engine,
                const std::function<void()>& tick) {
  const Method& method = method_registry().at(cell.method);
  StatisticsCache cache(0, "", engine.device());
  FusionContext context = streamed_context(method, engine, cache, experts, static_cast<uint64_t>(cell.seed));
  context.tick = tick;
  return method.fuse(FusionInput(context), parse_call(cell.method_text()).second);
}

}  // namespace

struct StreamedMerger::Source {
  std::string model;  // as models_read() names it
  std::filesystem::path path;
  std::unique_ptr<ModelFolder> folder;
  std::unique_ptr<StoredParameters> parameters;
};

FusedModel StreamedMerger::merge(const Cell& cell, OpenZoo& of, Collectives& group,
                                 const std::function<void()>& tick) {
  const Zoo& zoo = of.zoo();
  const Network& network = of.network(cell.seed);
  const std::vector<std::string> experts = zoo.experts_called(cell.experts);
  const MethodCard& card = method_registry().at(cell.method).card;
  const bool per_task = card.yields == Yields::kModelPerTask;
  const std::vector<Source> sources = reading_inputs(
      [&] { return open(zoo, zoo.replicate(cell.seed), models_read(card, experts), network, group, tick); });
  StreamModels models;
  models.tensors = network.architecture->parameters();
  for (const Source& source : sources) {
    if (source.model == kBaseModel) {
      models.base = source.parameters.get();
    } else {
      models.experts.push_back(source.parameters.get());
    }
  }
  std::vector<size_t> all(models.tensors.size());
  std::iota(all.begin(), all.end(), size_t{0});
  const StreamLayout layout(models.tensors, {all}, group.size(), slice_elements(device_));
  GatheringSink sink(models.tensors, per_task ? experts.size() : 1, group, device_);
  StreamOptions options;
  options.memory_limit_bytes =
      memory_limit_bytes_ > 0 ? memory_limit_bytes_ : std::numeric_limits<int64_t>::max();
  options.threads = device_.is_cpu() ? 0 : kDeviceThreads;
  options.device = device_;
  options.tick = tick;

  FusedModel without_data;
  const auto run = [&](Engine& engine) { without_data = fuse(cell, experts, engine, tick); };
  StreamSession(models, layout, group, sink, options)
      .run({{.with_base = models.base != nullptr, .outputs = per_task ? experts.size() : 1, .fuse = run}});
  std::map<std::string, Weights> by_expert;
  for (size_t i = 0; per_task && i < experts.size(); ++i) {
    by_expert.emplace(experts[i], sink.take(i));
  }
  const double stored = without_data.stored_parameters;
  auto owners = zoo.owners(experts);
  owners.merge(of.external_owners(experts));
  FusedModel fused =
      per_task ? model_per_task(std::move(by_expert), std::move(owners), stored) : one_model(sink.take(0));
  fused.stored_parameters = stored;
  fused.facts = std::move(without_data.facts);
  return fused;
}

std::vector<StreamedMerger::Source> StreamedMerger::open(const Zoo& zoo, const Replicate& replicate,
                                                         const std::vector<std::string>& models,
                                                         const Network& network, Collectives& group,
                                                         const std::function<void()>& tick) {
  std::vector<Source> sources;
  on_all_ranks(group, [&] {
    for (const std::string& model : models) {
      sources.push_back({model, model_folder(zoo, replicate, model), nullptr, nullptr});
    }
    for (size_t i = 0; i < sources.size(); ++i) {
      Source& source = sources[i];
      source.folder = std::make_unique<ModelFolder>(replicate.layout(), source.path);
      source.parameters = std::make_unique<StoredParameters>(*network.architecture, source.folder->model());
      const bool is_mine = i % static_cast<size_t>(group.size()) == static_cast<size_t>(group.rank());
      if (is_mine && !checked_.contains(source.path.string())) {
        check_model(*network.architecture, replicate, source.model, source.path);
        checked_.insert(source.path.string());
      }
      tick();
    }
  });
  return sources;
}

}  // namespace fusegrid
