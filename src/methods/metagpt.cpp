// MetaGPT: task arithmetic whose scale for each expert is its share of the squared norms, which minimises a
// bound of the mean loss over the tasks when task vectors are orthogonal.
//
// Source:  Zhou et al., "MetaGPT: Merging Large Language Models Using Model Exclusive Task Arithmetic",
//          EMNLP 2024, arXiv:2406.11385.
// Differs: nothing; scale=1 is the paper's.
// Cost:    two passes over N experts; a sweep of scales shares the direction.

#include <ATen/TensorOperators.h>

#include "fusion/passes/direction.h"

namespace fusegrid::methods::metagpt {
namespace {

struct Options {
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 5}, "multiplier of the weighted sum of the task vectors");
  }
};

std::vector<double> shares(const FusionInput& in) {
  std::vector<double> squares = in.reduce(in.num_experts(), [](const Slice& slice, double* out) {
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      out[i] = slice.task_vector(i).to(at::kDouble).square().sum().item<double>();
    }
  });
  double total = 0;
  for (const double square : squares) {
    total += square;
  }
  for (double& square : squares) {
    square = total > 0 ? square / total : 0;  // equal to the base, all of them: there is nothing to add
  }
  return squares;
}

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  const auto weights = in.scalars(key, [&] { return shares(in); });
  return in.field(
      key, [weights](const Slice& slice) { return weighted_sum_of(slice.task_vector_views(), weights); });
}

const RegisterDirection<Options> registered{
    {.name = "metagpt",
     .title = "MetaGPT",
     .paper = "Zhou et al., EMNLP 2024, arXiv:2406.11385",
     .formula = R"(lambda_i = |tau_i|^2 / sum_j |tau_j|^2   norms over the whole model
theta = theta_0 + scale * sum_i lambda_i tau_i)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::metagpt
