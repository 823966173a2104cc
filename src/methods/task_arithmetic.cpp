// Task arithmetic: add the scaled (weighted) sum of the task vectors to the base.
//
// Source:  Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023, arXiv:2212.04089.
// Differs: nothing; `weights` and `merge` are mergekit's, which has a weight for each expert and may divide by their
//          sum.
// Cost:    one pass over N experts; a sweep of scales shares the sum.

#include "core/model_weights.h"
#include "fusion/passes/direction.h"

namespace fusegrid::methods::task_arithmetic {
namespace {

struct Options {
  double scale = 0.3;
  std::vector<double> weights;
  std::string merge = "sum";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "multiplier of the summed task vectors; negative: forgetting");
    v.param("weights", weights, Range{-100, 100}, "weight of each task vector; empty: all 1");
    v.param("merge", merge, Choices{"sum", "mean"}, "mean: divided by the sum of the weights");
  }
  void check(int64_t experts) const { model_weights("task_arithmetic", weights, merge == "mean", experts); }
};

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const bool mean = options.merge == "mean";
  if (options.weights.empty() && !mean) {
    return in.task_vector_sum();
  }
  const auto weights =
      model_weights("task_arithmetic", options.weights, mean, static_cast<int64_t>(in.num_experts()));
  return in.field(
      key, [weights](const Slice& slice) { return weighted_sum_of(slice.task_vector_views(), weights); });
}

const RegisterDirection<Options> registered{
    {.name = "task_arithmetic",
     .title = "Task Arithmetic",
     .paper = "Ilharco et al., ICLR 2023, arXiv:2212.04089",
     .formula = "theta = theta_0 + scale * sum_i w_i tau_i",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::task_arithmetic
