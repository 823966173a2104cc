// What a job will cost, before it runs: seconds (for longest-first order and for people), memory, bytes to
// read. Learnt from recorded timings where there are any, else from the method's card and the size of the
// zoo.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/campaign.h"
#include "coordinator/cost_model.h"
#include "coordinator/grid.h"
#include "core/cell.h"
#include "core/result.h"
#include "zoo/zoo.h"

namespace fusegrid {

// The sizes that estimates rest on.
struct ZooSize {
  int64_t model_bytes = 0;  // of one model's checkpoint
  PackContents contents;
  int64_t pack_bytes = 0;
};
ZooSize zoo_size(const Zoo& zoo, const PackContents& contents);

// Learns from the timings of a results folder: "fuse/<method>" from timing "fuse" and
// "evaluate/<zoo>/<task>" from timing "evaluate". A result whose name is not a cell's is ignored.
void learn(CostModel& model, const std::map<std::string, Result>& results);

// Seconds, memory and reads of single cells of one job.
class Estimator {
 public:
  // sizes: by zoo name. shards: of the job.
  Estimator(std::map<std::string, ZooSize> sizes, CostModel model, int64_t shards = 1)
      : sizes_(std::move(sizes)), model_(std::move(model)), shards_(shards) {}

  // Workers that make the cell's merge together.
  int64_t shards(const Cell& cell) const;

  double fuse_s(const Cell& cell) const;
  double evaluate_s(const Cell& cell) const;
  // Host or device memory of a worker while it fuses and evaluates the cell: its models, the method's
  // working copies (activations are not counted).
  int64_t memory_bytes(const Cell& cell) const;
  // One unit of work for run_campaign: the cell, grouped with those of its merge.
  Item item(const Cell& cell) const;

 private:
  int64_t num_experts(const Cell& cell) const;

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
  int64_t worker_memory_bytes = 0;  // the most that any cell left to run takes
  int64_t read_bytes = 0;           // by one worker that runs everything: models and packs, each once
};
JobTotals totals(const std::vector<Cell>& cells, const std::map<std::string, Result>& recorded,
                 const JobZoos& zoos, const std::map<std::string, ZooSize>& sizes,
                 const Estimator& estimator);

}  // namespace fusegrid
