// Magnitude pruning of the difference: each expert without the smallest changes of every row of its linear weights.
//
// Source:  FusionBench's MagnitudeDiffPruning. Tensors that are no linear weights stay the base's, as there.
// Differs: rescale=true multiplies by 1 / (1 - ratio), so that the mean change stays; FusionBench multiplies by
//          1 / ratio, and its default, rescale: false, multiplies every change by zero.
// Cost:    a sort per row. Stored: base, kept changes and one bit per entry for their positions.

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>

#include "fusion/passes/pruning.h"

namespace fusegrid::methods::magnitude_diff_pruning {
namespace {

struct Options {
  double ratio = 0.5;
  std::string drop = "smallest";
  bool rescale = false;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("ratio", ratio, Range{0, 0.9999}, "fraction of each row's changes that is dropped");
    v.param("drop", drop, Choices{"smallest", "largest"}, "which changes are dropped");
    v.param("rescale", rescale, "divide the kept changes by 1 - ratio");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const double factor = options.rescale ? 1 / (1 - options.ratio) : 1;
  return pruned_changes(in, options.ratio, [&](const at::Tensor& tau) {
    const at::Tensor magnitude = options.drop == "smallest" ? tau.abs() : -tau.abs();
    return tau * kept_per_row(magnitude, options.ratio) * factor;
  });
}

const RegisterMethod<Options> registered{
    {.name = "magnitude_diff_pruning",
     .title = "Magnitude pruning of the difference",
     .paper = "FusionBench, JMLR 2025, arXiv:2406.03280",
     .formula =
         R"(linear weights  theta^(i) = theta_0 + c m_i tau_i,   m_i = 0 for the `ratio` smallest |tau_i| of each row
others          theta^(i) = theta_0)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::magnitude_diff_pruning
