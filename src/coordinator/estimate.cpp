#include "coordinator/estimate.h"

#include <algorithm>
#include <set>

#include "core/errors.h"
#include "fusion/cell_merge.h"
#include "fusion/sharding.h"
#include "tasks/shift.h"

namespace fusegrid {
namespace {

// 0 of a task that a command answers.
int64_t num_inputs(const ZooSize& size, const std::string& task, const std::string& split) {
  const auto info = size.contents.find(task);
  if (info == size.contents.end()) {
    return 0;
  }
  const auto& examples = info->second.examples;
  const auto found = examples.find(split);
  return found == examples.end() ? 0 : found->second;
}

std::set<std::string> splits_read(const Cell& cell) {
  std::set<std::string> splits{"val", "test"};
  const auto& needs = method_registry().at(cell.method).card.needs;
  if (needs.contains(Need::kTrainInputs) && method_registry().at(cell.method).card.min_experts > 0) {
    splits.insert("train");
  }
  return splits;
}

// What a worker that runs the cells one after the other has in memory, and reads.
class WorkerMemory {
 public:
  WorkerMemory(const JobZoos& zoos, const Estimator& estimator, const JobSpec& job)
      : estimator_(estimator), batch_(job.batch), shares_(memory_shares(job.memory_limit_bytes())) {
    for (const auto& [text, zoo] : zoos) {
      zoos_[zoo.name] = &zoo;
    }
  }

  void add(const Cell& cell) {
    const Zoo& zoo = *zoos_.at(cell.zoo);
    const ZooSize& size = estimator_.size(cell.zoo);
    const MethodCard& card = method_registry().at(cell.method).card;
    const auto experts = zoo.experts_called(cell.experts);
    packs_[cell.zoo] = size.pack_bytes;
    int64_t models = 0;
    for (const std::string& model : models_read(card, experts)) {
      const std::string folder = model_folder(zoo, zoo.replicate(cell.seed), model).string();
      checkpoints_[folder] = size.checkpoint_bytes;
      if (estimator_.shards(cell) ==
          1) {  // a team reads base and experts from their files, and keeps the result alone
        kept_models_[folder] = size.model_bytes;
        models += size.model_bytes;
      }
    }
    most_models_ = std::max(most_models_, models);
    most_work_ = std::max(most_work_, work_bytes(cell, size, batch_));
    if (merges_.insert(merge_name(cell)).second && estimator_.shards(cell) == 1) {
      statistics_ += statistics_bytes(cell, size);
    }
    for (const std::string& split : splits_read(cell)) {
      for (const std::string& task :
           split == "train" ? zoo.tasks_of(experts) : std::vector<std::string>{cell.task}) {
        inputs_[cell.zoo + "/" + task + "/" + split] = num_inputs(size, task, split) * size.input_bytes;
      }
    }
    if (changes_inputs(cell.shift)) {
      shifted_[cell.zoo + "/" + cell.task + "@" + cell.shift] =
          num_inputs(size, cell.task, "test") * size.input_bytes;
    }
  }

  int64_t bytes() const {
    return kProgramBytes + std::max(most_models_, std::min(shares_.models, sum(kept_models_))) + most_work_ +
           std::min(shares_.statistics, statistics_) + sum(inputs_) +
           std::min(shares_.shifted, sum(shifted_));
  }
  int64_t read_bytes() const { return sum(checkpoints_) + sum(packs_); }

 private:
  using Sizes = std::map<std::string, int64_t>;
  static int64_t sum(const Sizes& sizes) {
    int64_t bytes = 0;
    for (const auto& [name, size] : sizes) {
      bytes += size;
    }
    return bytes;
  }

  const Estimator& estimator_;
  int64_t batch_;
  MemoryShares shares_;
  std::map<std::string, const Zoo*> zoos_;
  Sizes checkpoints_, packs_, kept_models_, inputs_, shifted_;
  std::set<std::string> merges_;
  int64_t most_models_ = 0, most_work_ = 0, statistics_ = 0;
};

}  // namespace

void learn(CostModel& model, const std::map<std::string, Result>& results) {
  for (const auto& [name, result] : results) {
    if (result.status != Status::kValid) {
      continue;
    }
    Cell cell;
    try {
      cell = Cell::parse(name);
    } catch (const ConfigError&) {
      continue;  // a folder of another kind of items
    }
    if (!method_registry().contains(cell.method)) {
      continue;  // of another program
    }
    // A merge is timed in the cell that made it; the others of its group have no such timing.
    if (const auto fuse = result.costs.find("fuse_s"); fuse != result.costs.end()) {
      model.observe("fuse/" + cell.zoo + "/" + cell.method, fuse->second);
    }
    // Under a shift it is not known whether "val" was measured.
    if (const auto evaluate = result.costs.find("evaluate_s");
        evaluate != result.costs.end() && cell.shift == "clean") {
      model.observe("evaluate/" + cell.zoo + "/" + cell.task, evaluate->second / models_asked(cell));
    }
  }
}

int64_t Estimator::shards(const Cell& cell) const {
  return can_be_sharded(method_registry().at(cell.method).card) ? shards_ : 1;
}

double Estimator::fuse_s(const Cell& cell) const {
  return model_.estimate("fuse/" + cell.zoo + "/" + cell.method, prior_fuse_s(cell, size(cell.zoo)));
}

double Estimator::evaluate_s(const Cell& cell, bool on_val, bool on_test) const {
  const ZooSize& of_zoo = size(cell.zoo);
  const int64_t test = num_inputs(of_zoo, cell.task, "test");
  const int64_t val = num_inputs(of_zoo, cell.task, "val");
  const int64_t both = test + val;
  const int64_t asked = (on_test ? test : 0) + (on_val ? val : 0);
  const double part = both == 0 ? 1 : static_cast<double>(asked) / static_cast<double>(both);
  const double prior =
      of_zoo.contents.contains(cell.task) ? prior_evaluate_s(of_zoo, both) : kPriorCommandSeconds;
  return part * models_asked(cell) * model_.estimate("evaluate/" + cell.zoo + "/" + cell.task, prior);
}

Item Estimator::item(const Cell& cell) const {
  return {.name = cell.name(),
          .group = merge_name(cell),
          .cost_s = evaluate_s(cell),
          .group_cost_s = fuse_s(cell),
          .shards = static_cast<int>(shards(cell)),
          .bindings = cell_bindings(cell)};
}

JobTotals totals(const JobSpec& job, const std::vector<Cell>& cells,
                 const std::map<std::string, Result>& recorded, const JobZoos& zoos,
                 const Estimator& estimator) {
  JobTotals totals;
  std::set<std::string> merges;
  std::set<std::string> merges_left;
  std::set<std::string> validated;
  const std::set<std::string> swept = job.tests_chosen_only ? swept_cells(cells) : std::set<std::string>();
  std::set<std::string> tested;  // one setting of each sweep
  WorkerMemory worker(zoos, estimator, job);
  for (const auto& cell : cells) {
    MethodTotals one{.cells = 1};
    const std::string merge = merge_name(cell);
    one.merges = merges.insert(merge).second ? 1 : 0;
    if (recorded.contains(cell.name())) {
      one.recorded = 1;
    } else {
      const bool is_tested =
          !swept.contains(cell.name()) || tested.insert(sweep_name(cell) + "/" + cell.task).second;
      one.cost_s = estimator.evaluate_s(cell, validated.insert(merge + "/" + cell.task).second, is_tested);
      if (merges_left.insert(merge).second) {
        one.cost_s += estimator.fuse_s(cell);
      }
      worker.add(cell);
    }
    for (auto* sum : {&totals.methods[cell.method], &totals.all}) {
      sum->merges += one.merges;
      sum->cells += one.cells;
      sum->recorded += one.recorded;
      sum->cost_s += one.cost_s;
    }
    totals.methods[cell.method].shards = estimator.shards(cell);
  }
  if (totals.all.recorded < totals.all.cells) {
    totals.worker_memory_bytes = worker.bytes();
  }
  totals.read_bytes = worker.read_bytes();
  totals.read_s = prior_read_s(totals.read_bytes);
  return totals;
}

}  // namespace fusegrid
