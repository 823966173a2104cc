// MagMax: of each entry take the task vector with the largest magnitude there.
//
// Source:  Marczak et al., "MagMax: Leveraging Model Merging for Seamless Continual Learning", ECCV 2024,
//          arXiv:2407.06322, and its code: of equal magnitudes the later expert's entry wins.
// Differs: nothing.
// Cost:    one pass over N experts; a sweep of scales shares the direction.

#include "fusion/passes/direction.h"

namespace fusegrid::methods::magmax {
namespace {

struct Options {
  double scale = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "multiplier of the merged task vector");
  }
};

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  return in.field(key, [](const Slice& slice) { return largest_of(slice.task_vector_views()); });
}

const RegisterDirection<Options> registered{
    {.name = "magmax",
     .title = "MagMax",
     .paper = "Marczak et al., ECCV 2024, arXiv:2407.06322",
     .formula = "theta = theta_0 + scale * tau_j,   j = argmax_i |tau_i| per entry",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::magmax
