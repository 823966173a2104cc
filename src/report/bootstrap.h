#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

constexpr int64_t kResamples = 2000;

struct Interval {
  double low = 0;
  double high = 0;
};

// Outcomes of several models on the same examples of one task.
struct PairedOutcomes {
  std::string task;  // keys the resampling: all reports resample a task alike
  int64_t examples = 0;
  // [models][examples]: in how many of the replicates the model was right
  std::vector<std::vector<uint16_t>> hits;
};

// Paired bootstrap, stratified by task: in each resample the examples of every task are drawn anew with
// replacement, the same ones for all models and replicates.
//   tasks       same models in the same order in each
//   replicates  number of seeds behind `hits`
//   Returns     [models][resamples] mean over tasks of the accuracy (a fraction). A model's numbers depend on
//               its own hits, the tasks' names and sizes only; same bits everywhere (integer sums, Philox).
//   Source      Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16.
std::vector<std::vector<double>> bootstrap_averages(const std::vector<PairedOutcomes>& tasks,
                                                    int64_t replicates, int64_t resamples = kResamples);

// The 2.5 % and 97.5 % quantiles (linear between order statistics). `values` must not be empty.
Interval percentile_interval(std::vector<double> values);

}  // namespace fusegrid
