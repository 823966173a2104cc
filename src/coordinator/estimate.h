// What a job will cost, before it runs: seconds (for longest-first order and for people), memory, bytes to
// read. Learnt from recorded costs where there are any, else from priors.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/campaign.h"
#include "coordinator/cost_model.h"
#include "coordinator/grid.h"
#include "coordinator/priors.h"
#include "core/cell.h"
#include "core/result.h"
#include "worker/memory_shares.h"
#include "zoo/zoo.h"

namespace fusegrid {

// Learns from the costs of a results folder: "fuse/<zoo>/<method>" from "fuse_s" and "evaluate/<zoo>/<task>", of
// one model, from "evaluate_s" of clean cells. A result whose name is not a cell's is ignored.
void learn(CostModel& model, const std::map<std::string, Result>& results);

// Seconds and shards of single cells of one job.
class Estimator {
 public:
  // sizes: by zoo name. shards: of the job.
  Estimator(std::map<std::string, ZooSize> sizes, CostModel model, int64_t shards = 1)
      : sizes_(std::move(sizes)), model_(std::move(model)), shards_(shards) {}

  // Workers that make the cell's merge together.
  int64_t shards(const Cell& cell) const;

  double fuse_s(const Cell& cell) const;
  // On these splits. Another cell of its merge may have measured "val" of the task already.
  double evaluate_s(const Cell& cell, bool on_val = true, bool on_test = true) const;
  // One unit of work for run_campaign: the cell, grouped with those of its merge.
  Item item(const Cell& cell) const;

  const ZooSize& size(const std::string& zoo) const { return sizes_.at(zoo); }

 private:
  std::map<std::string, ZooSize> sizes_;
  CostModel model_;
  int64_t shards_;
};

// Totals of a job, for --dry-run.
struct MethodTotals {
  int64_t merges = 0;
  int64_t cells = 0;
  int64_t recorded = 0;  // of the cells
  int64_t shards = 1;    // workers at each merge
  double cost_s = 0;     // of those not recorded
};
struct JobTotals {
  std::map<std::string, MethodTotals> methods;
  MethodTotals all;
  int64_t worker_memory_bytes = 0;  // of one worker that runs everything: host and device together
  int64_t read_bytes = 0;           // by one worker that runs everything: models and packs, each once
  double read_s = 0;
};
JobTotals totals(const JobSpec& job, const std::vector<Cell>& cells,
                 const std::map<std::string, Result>& recorded, const JobZoos& zoos,
                 const Estimator& estimator);

}  // namespace fusegrid
