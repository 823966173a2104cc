#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metrics/metric.h"

namespace fusegrid {

constexpr int64_t kResamples = 2000;

// Sums of a metric's rows over the examples of each group, of one model.
struct GroupSums {
  struct Entry {
    uint32_t group = 0;
    uint32_t column = 0;
    double value = 0;
  };
  size_t width = 1;
  std::vector<Entry> entries;  // of a group and column one or none, which is 0
};

// What several models have on the same examples of one task. Examples of one group (glyphs of a font family, tiles of a
// map block) share their source, so that they are no independent draws: groups are what is drawn. A group may be a
// single example.
struct PairedSums {
  std::string task;             // keys the resampling: all reports resample a task alike
  std::vector<uint32_t> sizes;  // [groups]: examples
  std::optional<double> (*finish)(std::span<const double> sums, double examples) = nullptr;
  int64_t pooled = 1;  // models that each of `sums` adds up: replicates, where finish is a mean
  std::vector<std::vector<GroupSums>> sums;  // [models][replicates]
  // [replicates]: a value counts offset + slope * value.
  struct Line {
    double offset = 0;
    double slope = 1;
  };
  std::vector<Line> scores;
};

// [resamples]; nullopt where the metric of the task is undefined on what was drawn.
using Resampled = std::vector<std::optional<double>>;

// Paired bootstrap of one task: in each resample its groups are drawn anew with replacement, the same ones for all
// models and replicates. Sums are those of the groups that were drawn, in the order in which they were, in float64.
//   Returns     [models] mean over the replicates of their scores. A model's numbers depend on its own sums, the task's
//               name and groups only; same bits everywhere (Philox, one order of sums).
//   Source      Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 16; drawing whole
//               clusters: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
std::vector<Resampled> bootstrap_scores(const PairedSums& task, int64_t resamples = kResamples);

}  // namespace fusegrid
