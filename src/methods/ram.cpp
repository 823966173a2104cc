// RAM: add the entries that one expert alone changed as they are, average those that several changed. RAM+
// makes the unique entries of experts that share much larger.
//
// Source:  "Reinforced Agent Merging", 2026, arXiv:2601.13572; constants as in mergekit (`ram`,
//          `ramplus_tl`). plus=model counts over the whole model (the paper's RAM+), plus=tensor over each
//          tensor (mergekit's "tensor-local" one).
// Differs: nothing.
// Cost:    one pass over N experts (plus: two); a sweep of scales shares the direction.

#include <algorithm>
#include <functional>

#include "fusion/passes/changed_entries.h"
#include "fusion/passes/direction.h"

namespace fusegrid::methods::ram {
namespace {

struct Options {
  std::string plus = "none";
  double r = 0.1;
  double alpha = 0.2;
  double epsilon = 1e-5;
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("plus", plus, Choices{"none", "model", "tensor"},
            "RAM, or RAM+ with counts per model or per tensor");
    v.param("r", r, Range{0, 10}, "RAM+: how fast unique entries grow with the share of common ones");
    v.param("alpha", alpha, Range{0, 10}, "RAM+: largest ratio of common to unique entries that counts");
    v.param("epsilon", epsilon, Range{0, 1}, "entries up to this magnitude count as unchanged");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

// Factor of the unique entries, [tensor * experts + expert].
std::vector<double> reinforcement(const FusionInput& in, const Options& options) {
  const size_t experts = in.num_experts();
  auto counts = in.reduce_per_tensor(2 * experts, [&](const Slice& slice, double* out) {
    const auto entries = changed_entries(slice.task_vector_views(), options.epsilon);
    for (size_t i = 0; i < experts; ++i) {
      out[2 * i] = static_cast<double>(entries[i].shared);
      out[2 * i + 1] = static_cast<double>(entries[i].unique);
    }
  });
  if (options.plus == "model") {
    std::vector<double> total(2 * experts, 0.0);
    for (const auto& tensor : counts) {
      std::transform(total.begin(), total.end(), tensor.begin(), total.begin(), std::plus<>());
    }
    counts.assign(counts.size(), total);
  }
  std::vector<double> factors;
  for (const auto& tensor : counts) {
    for (size_t i = 0; i < experts; ++i) {
      const double unique = std::max(tensor[2 * i + 1], 1e-5);
      factors.push_back(1 + options.r * std::min(tensor[2 * i] / unique, options.alpha));
    }
  }
  return factors;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const size_t experts = in.num_experts();
  const auto factors = options.plus == "none" ? std::vector<double>(in.tensors().size() * experts, 1.0)
                                              : in.scalars(key, [&] { return reinforcement(in, options); });
  return in.field(key, [factors, experts, epsilon = options.epsilon](const Slice& slice) {
    const auto first = factors.begin() + static_cast<int64_t>(slice.tensor_index * experts);
    const std::vector<double> of_slice(first, first + static_cast<int64_t>(experts));
    return mean_of_changes(slice.task_vector_views(), epsilon, of_slice);
  });
}

const RegisterDirection<Options> registered{
    {.name = "ram",
     .title = "Reinforced Agent Merging",
     .paper = "arXiv:2601.13572 (2026)",
     .formula = R"(c = number of experts with |tau_i| > epsilon, per entry
theta = theta_0 + scale * sum_i tau_i ([c = 1] lambda_i + [c > 1] / c)   over |tau_i| > epsilon
plus=none  lambda_i = 1
else       lambda_i = 1 + r min(alpha, shared_i / unique_i)   entries of i with c > 1 and c = 1)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::ram
