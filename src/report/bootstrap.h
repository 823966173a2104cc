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

// Outcomes of several models on the same examples of one task. Examples of one group (glyphs of a font family, tiles
// of a map block) share their source, so that they are no independent draws: groups are what is drawn. A group may be
// a single example.
struct PairedOutcomes {
  std::string task;             // keys the resampling: all reports resample a task alike
  std::vector<uint32_t> sizes;  // [groups]: examples
  // [models][groups]: how often the model was right, over the group's examples and the replicates
  std::vector<std::vector<uint32_t>> hits;
};

// Paired bootstrap, stratified by task: in each resample the groups of every task are drawn anew with replacement, the
// same ones for all models and replicates. An accuracy is that of the examples of the groups that were drawn.
//   tasks       same models in the same order in each
//   replicates  number of seeds behind `hits`
//   Returns     [models][resamples] mean over tasks of the accuracy (a fraction). A model's numbers depend on
//               its own hits, the tasks' names and groups only; same bits everywhere (integer sums, Philox).
//   Source      Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8, 13 and 16; drawing whole
//               clusters: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
std::vector<std::vector<double>> bootstrap_averages(const std::vector<PairedOutcomes>& tasks,
                                                    int64_t replicates, int64_t resamples = kResamples);

// The 2.5 % and 97.5 % quantiles (linear between order statistics). `values` must not be empty.
Interval percentile_interval(std::vector<double> values);

}  // namespace fusegrid
