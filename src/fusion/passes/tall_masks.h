// TALL masks: which entries of a multi-task vector a task needs.
#pragma once

#include <string>
#include <vector>

#include "fusion/passes/sign_election.h"

namespace fusegrid {

struct TallMaskRule {
  double lambda = 0.4;
  std::string vector =
      "sum";  // the multi-task vector: "sum" of the task vectors, or "ties" (density 0.2, sum)
  std::string compare = "task_vectors";  // or "fusion_bench": see the methods that use it
};

// Makes the passes that the rule needs; then works slice by slice.
class TallMasks {
 public:
  TallMasks(const FusionInput& in, TallMaskRule rule);
  at::Tensor multitask_vector(const Slice& slice) const;
  // One bool mask per expert: |tau_i| > lambda |multitask - tau_i|.
  std::vector<at::Tensor> masks(const Slice& slice, const at::Tensor& multitask) const;

 private:
  TallMaskRule rule_;
  TrimmedElection election_;
};

}  // namespace fusegrid
