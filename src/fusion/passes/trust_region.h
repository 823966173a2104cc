// The entries of a model in which tasks conflict least: what trust-region merges share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// omega = sum_(i != j) g_i |tau_j| per entry, where g_i says how much task i minds a change of it; the region is the
// fraction `keep` of the model's entries with the smallest omega, and all that equal the last of them.
// Source: Sun et al., "Task Arithmetic in Trust Region: A Training-Free Model Merging Approach to Navigate Knowledge
// Conflicts", 2025, arXiv:2501.15065.
class TrustRegion {
 public:
  // g_i of the experts in a slice, float32, nowhere negative.
  using Sensitivities = std::function<std::vector<at::Tensor>(const Slice&)>;

  // Needs the base; a pass of counting over the model.
  TrustRegion(const FusionInput& in, Sensitivities sensitivities, double keep);
  // Whether an entry lies in the region, as float32 of the slice's shape: 1 or 0.
  at::Tensor mask(const Slice& slice) const;

 private:
  at::Tensor omega(const Slice& slice) const;

  Sensitivities sensitivities_;
  float largest_ = 0;
};

// theta = theta_0 + scale * mask * direction of the method `base`.
FusedModel move_within(const FusionInput& in, const TrustRegion& region, const std::string& base,
                       double scale);

}  // namespace fusegrid
