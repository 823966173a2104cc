// Executor of kind "grid": an item is a cell. Settings (coordinator/grid.h makes them):
//   {"zoos": {"<name>": "<folder>"}, "packs": {"<zoo>": {"size": n, ..., "sha256": "<digest>"}}, "batch": n,
//    "splits": ["val", "test"], "validation": n, "precision": "fp32", "statistics": "<folder>",
//    "statistics_disk_bytes": n, "memory_limit_bytes": n, "shards": n, "bindings": {"<input>": "<digest>"},
//    "external": what coordinator/external_settings.h makes}
//
// With shards > 1, what can be sharded is merged from files, in teams or alone; otherwise only what has more or larger
// models than memory holds in float32. The bits are the same.

#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "comm/team_channel.h"
#include "core/errors.h"
#include "worker/cell_evaluator.h"
#include "worker/device_clock.h"
#include "worker/executor.h"
#include "worker/external_evaluator.h"
#include "worker/memory_shares.h"
#include "worker/merge_maker.h"
#include "worker/recorder.h"
#include "worker/zoo_cache.h"
#include "zoo/bindings.h"

namespace fusegrid {
namespace {

ExternalSettings external_rows(const nlohmann::json& settings) {
  const auto external = settings.value("external", nlohmann::json::object());
  return {external.value("rows", std::map<std::string, ExternalRow>()),
          external.value("folder", std::string())};
}

MergeSettings merge_settings(const nlohmann::json& settings, const MemoryShares& shares, at::Device device) {
  const int64_t limit = settings.at("memory_limit_bytes");
  return {.statistics = settings.at("statistics").get<std::string>(),
          .statistics_bytes = shares.statistics,
          .statistics_disk_bytes = settings.at("statistics_disk_bytes"),
          .memory_limit_bytes = limit,
          .model_bytes = room_for_models(device, limit),
          .streamed = settings.at("shards").get<int64_t>() > 1,
          .external = external_rows(settings)};
}

std::map<std::string, ExternalTask> external_tasks(const nlohmann::json& settings) {
  const auto external = settings.value("external", nlohmann::json::object());
  return external.value("tasks", std::map<std::string, ExternalTask>());
}

std::map<std::string, std::string> owners_of(const std::map<std::string, ExternalTask>& tasks) {
  std::map<std::string, std::string> owners;
  for (const auto& [name, task] : tasks) {
    if (!task.expert.empty()) {
      owners.emplace(name, task.expert);
    }
  }
  return owners;
}

// For the timeline of a run: clocks of hosts agree to the milliseconds of NTP.
double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class GridExecutor final : public Executor {
 public:
  explicit GridExecutor(const ExecutorContext& context)
      : GridExecutor(context.settings, context.device,
                     memory_shares(context.settings.at("memory_limit_bytes").get<int64_t>())) {}

  Result run(const std::string& item, Progress& progress) override {
    const Cell cell = Cell::parse(item);
    const double began = seconds_since_1970();
    const auto tick = [&progress] { progress.tick(); };
    OpenZoo& zoo = open(cell);
    Merge& merge = merges_.of(cell, zoo, tick);
    Result result;
    result.name = item;
    result.facts = merge.facts;
    result.costs = std::exchange(merge.costs, {});
    const DeviceClock clock(device_);
    const auto answers = answers_of(cell, merge, zoo, tick, result);
    result.costs["evaluate_s"] = clock.seconds();
    record(cell, answers, trusted_scores(cell, zoo), result);
    result.costs["began_s"] = began;
    result.costs["ended_s"] = seconds_since_1970();
    return result;
  }

  void prepare(const std::string& item, TeamChannel& team, Progress& progress) override {
    const Cell cell = Cell::parse(item);
    const auto group = team_collectives(team, device_);
    OpenZoo& zoo = open(cell);
    FUSEGRID_ASSERT(merges_.is_streamed(cell, zoo), item);
    Merge& merge = merges_.with_team(cell, zoo, *group, [&progress] { progress.tick(); });
    if (team.rank() > 0) {
      merge.costs.clear();  // a merge is timed once, in the cell that opens it
    }
  }

 private:
  GridExecutor(const nlohmann::json& settings, at::Device device, const MemoryShares& shares)
      : device_(device),
        precision_(parse_precision(settings.at("precision"))),
        bindings_(settings.value("bindings", std::map<std::string, std::string>())),
        zoos_(settings.at("zoos").get<std::map<std::string, std::string>>(), device, shares, precision_,
              settings.at("packs").get<std::map<std::string, SeenPack>>(),
              owners_of(external_tasks(settings))),
        merges_(merge_settings(settings, shares, device), device),
        evaluator_({.batch = settings.at("batch"),
                    .splits = settings.at("splits"),
                    .validation = settings.at("validation")}),
        external_evaluator_({.tasks = external_tasks(settings),
                             .folder = external_rows(settings).folder,
                             .splits = settings.at("splits"),
                             .validation = settings.at("validation")},
                            device) {}

  // By split; adds what else is known of them to the result.
  std::map<std::string, Answers> answers_of(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                            const std::function<void()>& tick, Result& result) {
    if (!external_evaluator_.answers(cell.task)) {
      return evaluator_.answers(cell, merge, zoo, tick);
    }
    auto evaluation = external_evaluator_.evaluate(cell, merge, zoo, tick);
    result.facts.merge(evaluation.facts);
    return std::move(evaluation.answers);
  }

  // What zoo.json says that answers like these score: of all examples, in float32. Passes in tf32 stay within the
  // tolerance of metrics; those in bfloat16 need not, and there an expert is known by the digest of its weights alone.
  std::map<std::string, double> trusted_scores(const Cell& cell, const OpenZoo& zoo) const {
    return evaluator_.sees_all() && precision_ != Precision::kBf16 ? zoo.owner_scores(cell)
                                                                   : std::map<std::string, double>();
  }

  // What the run was started with: the zoo may have been made anew since.
  OpenZoo& open(const Cell& cell) {
    return reading_inputs([&]() -> OpenZoo& {
      OpenZoo& zoo = zoos_.open(cell.zoo);
      const Replicate& replicate = zoo.zoo().replicate(cell.seed);
      if (const std::pair key(cell.zoo, replicate.seed); !checked_.contains(key)) {
        check_same_bindings(bindings_, replicate_bindings(zoo.zoo(), replicate));
        if (!zoo.zoo().pack.empty()) {
          check_same_bindings(bindings_, {{pack_binding(zoo.zoo()), zoo.data().key()}});
        }
        checked_.insert(key);
      }
      return zoo;
    });
  }

  at::Device device_;
  Precision precision_;
  std::map<std::string, std::string> bindings_;        // of the launch
  std::set<std::pair<std::string, int64_t>> checked_;  // zoo and seed
  ZooCache zoos_;
  MergeMaker merges_;
  CellEvaluator evaluator_;
  ExternalEvaluator external_evaluator_;
};

const bool grid_executor_registered = [] {
  executor_registry().add("grid", [](const ExecutorContext& context) -> std::unique_ptr<Executor> {
    return std::make_unique<GridExecutor>(context);
  });
  return true;
}();

}  // namespace
}  // namespace fusegrid
