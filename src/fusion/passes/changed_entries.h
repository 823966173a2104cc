// Which vectors change an entry (by more than epsilon), and whether one of them does so alone: the steps of RAM.
#pragma once

#include <vector>

#include "fusion/loops/slice_vector.h"

namespace fusegrid {

// Of the entries that a vector changes: how many others change too, and how many it changes alone.
struct ChangedEntries {
  int64_t shared = 0;
  int64_t unique = 0;
};
std::vector<ChangedEntries> changed_entries(const std::vector<SliceVector>& vectors, double epsilon);

// The mean over those that change an entry, zero where none does; what vector i changes alone counts `factors[i]` fold.
at::Tensor mean_of_changes(const std::vector<SliceVector>& vectors, double epsilon,
                           const std::vector<double>& factors);

}  // namespace fusegrid
