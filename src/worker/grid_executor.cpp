// Executor of kind "grid": an item is a cell. Settings (coordinator/grid.h makes them):
//   {"zoos": {"<name>": "<folder>"}, "batch": n, "statistics": "<folder>", "memory_limit_bytes": n, "shards": n}
//
// The last merge stays: the cells of one merge, which the coordinator hands out together, fuse once. With
// shards > 1, what can be sharded is merged from files, in teams or alone, and everything else in memory.

#include <chrono>
#include <cmath>
#include <utility>

#include "comm/team_channel.h"
#include "core/cell.h"
#include "core/digest.h"
#include "core/text.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/fusion_input.h"
#include "fusion/sharding.h"
#include "models/evaluation.h"
#include "tasks/shift.h"
#include "worker/executor.h"
#include "worker/pack_data.h"
#include "worker/streamed_merger.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

// An expert whose accuracy is further from what zoo.json recorded is not the model that the zoo describes.
constexpr double kScoreTolerance = 0.01;
constexpr int64_t kStatisticsBytes = int64_t{1} << 30;

// Of statistics in memory: a quarter of what an executor may use, where that is limited.
int64_t statistics_bytes(int64_t memory_limit_bytes) {
  return memory_limit_bytes > 0 ? memory_limit_bytes / 4 : kStatisticsBytes;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A zoo with its data, and the one replicate that was used last.
struct OpenZoo {
  Zoo zoo;
  std::unique_ptr<PackData> data;
  int64_t seed = -1;  // of the replicate's description
  Network network;
  bool loaded = false;     // the rest is there
  LoadedReplicate models;  // in memory
  std::string base_key;
  std::map<std::string, std::string> expert_keys;
};

class GridExecutor final : public Executor {
 public:
  explicit GridExecutor(const ExecutorContext& context)
      : settings_(context.settings),
        device_(context.device),
        cache_(statistics_bytes(settings_.value("memory_limit_bytes", int64_t{0})),
               settings_.value("statistics", std::string()), device_),
        merger_(device_, settings_.value("memory_limit_bytes", int64_t{0})) {}

  Result run(const std::string& item, Progress& progress) override {
    const Cell cell = Cell::parse(item);
    Result result;
    result.name = item;
    OpenZoo& zoo = open(cell);
    if (cell.merge_name() != merge_name_) {
      if (is_streamed(cell)) {
        fuse_streamed(cell, zoo, *local_collectives(), progress);
      } else {
        load_models(cell, zoo);
        fuse(cell, zoo, progress);
      }
    }
    result.timings = std::exchange(timings_, {});
    result.facts = merge_facts_;
    evaluate(cell, zoo, progress, result);
    return result;
  }

  void prepare(const std::string& item, TeamChannel& team, Progress& progress) override {
    const Cell cell = Cell::parse(item);
    FUSEGRID_ASSERT(is_streamed(cell), item);
    fuse_streamed(cell, open(cell), *team_collectives(team, device_), progress);
    if (team.rank() > 0) {
      timings_.clear();  // a merge is timed once, in the cell that opens it
    }
  }

 private:
  bool is_streamed(const Cell& cell) const {
    return settings_.value("shards", int64_t{1}) > 1 &&
           can_be_sharded(method_registry().at(cell.method).card);
  }

  OpenZoo& open(const Cell& cell) {
    auto it = zoos_.find(cell.zoo);
    if (it == zoos_.end()) {
      OpenZoo fresh;
      fresh.zoo = Zoo::load(settings_.at("zoos").at(cell.zoo).get<std::string>());
      fresh.data = std::make_unique<PackData>(fresh.zoo.pack, device_);
      it = zoos_.emplace(cell.zoo, std::move(fresh)).first;
    }
    OpenZoo& zoo = it->second;
    const Replicate& replicate = zoo.zoo.replicate(cell.seed);
    if (zoo.seed != replicate.seed) {
      zoo.seed = -1;  // nothing half-loaded stays if loading throws
      zoo.loaded = false;
      zoo.models = {};
      zoo.network = load_network(replicate.base, replicate.heads, zoo.zoo.tasks, device_);
      zoo.seed = replicate.seed;
    }
    return zoo;
  }

  void load_models(const Cell& cell, OpenZoo& zoo) {
    if (zoo.loaded) {
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    const Replicate& replicate = zoo.zoo.replicate(cell.seed);
    zoo.models = load_replicate(zoo.zoo, replicate, zoo.zoo.tasks, replicate.multitask.has_value(), device_);
    zoo.base_key = digest(zoo.models.base);
    zoo.expert_keys.clear();
    // Gram matrices and Fisher diagonals also depend on the images and the heads.
    const std::string data = zoo.data->sha256() + "/" + sha256_of_file(replicate.heads);
    for (const auto& [task, weights] : zoo.models.experts) {
      zoo.expert_keys[task] = digest(weights) + "/" + data;
    }
    zoo.loaded = true;
    timings_["load"] = seconds_since(start);
  }

  void fuse_streamed(const Cell& cell, const OpenZoo& zoo, Collectives& group, Progress& progress) {
    merge_name_.clear();  // a merge that throws leaves nothing behind
    timings_.clear();
    const auto start = std::chrono::steady_clock::now();
    merged_ = merger_.merge(cell, zoo.zoo, zoo.network, group, [&progress] { progress.tick(); });
    timings_["fuse"] = seconds_since(start);
    keep_merge(cell);
  }

  void fuse(const Cell& cell, OpenZoo& zoo, Progress& progress) {
    const Method& method = method_registry().at(cell.method);
    FusionContext context;
    context.card = &method.card;
    context.network = &zoo.network;
    context.data = zoo.data.get();
    context.cache = &cache_;
    context.tasks = zoo.zoo.experts(cell.experts);
    context.seed = static_cast<uint64_t>(cell.seed);
    context.tick = [&progress] { progress.tick(); };
    for (const std::string& task : context.tasks) {
      context.experts.push_back(&zoo.models.experts.at(task));
      context.expert_keys.push_back(zoo.expert_keys.at(task));
    }
    static const Weights kNoBase;
    const bool with_base = method.card.needs.contains(Need::kPretrained);
    context.base = with_base ? &zoo.models.base : &kNoBase;
    context.base_key = with_base ? zoo.base_key : "";
    context.multitask = zoo.models.multitask ? &*zoo.models.multitask : nullptr;
    MemoryEngine engine(*context.base, context.experts, models_key(context.base_key, context.expert_keys),
                        cache_, context.tick);
    context.engine = &engine;

    merge_name_.clear();  // a merge that throws leaves nothing behind
    const auto start = std::chrono::steady_clock::now();
    merged_ = method.fuse(FusionInput(context), parse_call(cell.method_text()).second);
    timings_["fuse"] = seconds_since(start);
    keep_merge(cell);
  }

  void keep_merge(const Cell& cell) {
    merge_name_ = cell.merge_name();
    merge_facts_ = merged_.facts;
    merge_facts_["stored_parameters"] = number_text(merged_.stored_parameters);
    merge_facts_["weights_sha256"] = digest(merged_.predictor->weights());
  }

  void evaluate(const Cell& cell, const OpenZoo& zoo, Progress& progress, Result& result) {
    const auto start = std::chrono::steady_clock::now();
    const Network& network = zoo.network;
    const bool gets_task = method_registry().at(cell.method).card.needs_task_identity;
    const std::optional<std::string> task = gets_task ? std::optional(cell.task) : std::nullopt;
    for (const std::string split : {"val", "test"}) {
      Examples examples = zoo.data->examples(cell.task, split, -1);
      if (split == "test" && cell.shift != "clean") {  // parameters are always chosen on clean images
        examples.images = apply_shift(cell.shift, examples.images.cpu(), cell.task, 0).to(device_);
      }
      const Answers answers = answer(
          network, examples.images, examples.labels, settings_.value("batch", int64_t{256}),
          [&](const at::Tensor& pixels) {
            return merged_.predictor->logits(network, pixels, cell.task, task);
          },
          [&] { progress.tick(); });
      const auto count = static_cast<int64_t>(answers.correct.size());
      result.metrics.push_back({"accuracy", split, answers.accuracy, count});
      result.metrics.push_back({"loss", split, answers.loss, count});
      result.outcomes.push_back({split, answers.predictions, answers.correct});
      judge(cell, zoo, split, answers, result);
    }
    result.timings["evaluate"] = seconds_since(start);
  }

  // Marks results that must not be trusted.
  void judge(const Cell& cell, const OpenZoo& zoo, const std::string& split, const Answers& answers,
             Result& result) const {
    if (!answers.finite) {
      result.status = Status::kInvalid;
      result.reason = "the model's logits on " + split + " are not finite";
    }
    if (cell.method != "individual" || cell.shift != "clean") {
      return;
    }
    const auto& scores = zoo.zoo.replicate(cell.seed).scores;
    const auto recorded = scores.find(cell.task + "/" + split);
    if (recorded != scores.end() && std::abs(recorded->second - answers.accuracy) > kScoreTolerance) {
      result.status = Status::kInvalid;
      result.reason = "the expert's accuracy on " + split + " is " + number_text(answers.accuracy) +
                      ", but zoo.json recorded " + number_text(recorded->second);
    }
  }

  nlohmann::json settings_;
  at::Device device_;
  StatisticsCache cache_;
  StreamedMerger merger_;
  std::map<std::string, OpenZoo> zoos_;
  std::string merge_name_;
  FusedModel merged_;
  std::map<std::string, std::string> merge_facts_;
  std::map<std::string, double> timings_;  // of the merge, until a cell takes them
};

const bool registered = [] {
  executor_registry().add("grid", [](const ExecutorContext& context) -> std::unique_ptr<Executor> {
    return std::make_unique<GridExecutor>(context);
  });
  return true;
}();

}  // namespace
}  // namespace fusegrid
