// ComPEFT: task arithmetic with signs only. Each task vector becomes ternary: the signs of its largest
// entries times one number.
//
// Source:  Yadav et al., "ComPEFT: Compression for Communicating Parameter Efficient Updates via
//          Sparsification and Quantization", 2023, arXiv:2311.13171. Its alpha is `scale` here;
//          magnitude=std is the paper's.
// Differs: applied to whole models. magnitude=mean takes the mean |tau| of the kept entries, the
//          least-squares choice; with density=1 and one expert that is BitDelta with one number per model.
// Cost:    three passes over N experts and a sample (GPUs: four); a sweep of scales shares the direction.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::compeft {
namespace {

struct Options {
  double density = 0.2;
  std::string magnitude = "std";
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries of a task vector whose signs are kept");
    v.param("magnitude", magnitude, Choices{"std", "mean"},
            "size of every entry: standard deviation of the task vector, or mean |tau| of what is kept");
    v.param("scale", scale, Range{-10, 10}, "multiplier of the summed task vectors");
  }
};

std::vector<double> magnitudes(const FusionInput& in, const Options& options,
                               const std::vector<float>& thresholds) {
  const size_t experts = in.num_experts();
  const auto sums = in.reduce(4 * experts, [&](const Slice& slice, double* out) {
    const auto taus = slice.task_vectors();
    const auto kept = trimmed(taus, thresholds);
    for (size_t i = 0; i < experts; ++i) {
      const at::Tensor tau = taus[i].to(at::kDouble);
      out[4 * i] = tau.sum().item<double>();
      out[4 * i + 1] = tau.square().sum().item<double>();
      out[4 * i + 2] = kept[i].abs().sum(at::kDouble).item<double>();
      out[4 * i + 3] = (kept[i] != 0).sum(at::kDouble).item<double>();
    }
  });
  const auto elements = static_cast<double>(in.num_elements());
  std::vector<double> sizes;
  for (size_t i = 0; i < experts; ++i) {
    const double* sum = &sums[4 * i];
    const double squares = std::max(0.0, sum[1] - sum[0] * sum[0] / elements);
    const double deviation = std::sqrt(squares / std::max(1.0, elements - 1));
    sizes.push_back(options.magnitude == "std" ? deviation : sum[2] / std::max(1.0, sum[3]));
  }
  return sizes;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const std::vector<double> densities(in.num_experts(), options.density);
  const auto thresholds = trimming_thresholds(in, "task_vectors", densities, &Slice::task_vector_views);
  const auto sizes = in.scalars(key, [&] { return magnitudes(in, options, thresholds); });
  return in.field(key, [thresholds, sizes](const Slice& slice) {
    at::Tensor sum = at::zeros_like(slice.expert(0));
    const auto kept = trimmed(slice.task_vectors(), thresholds);
    for (size_t i = 0; i < sizes.size(); ++i) {
      sum.add_(kept[i].sign(), sizes[i]);
    }
    return sum;
  });
}

const RegisterDirection<Options> registered{
    {.name = "compeft",
     .title = "ComPEFT",
     .paper = "Yadav et al., 2023, arXiv:2311.13171",
     .formula = R"(k_i = the density largest |tau_i| of the model
theta = theta_0 + scale * sum_i a_i k_i sign(tau_i)
magnitude=std   a_i = standard deviation of tau_i
magnitude=mean  a_i = mean of |tau_i| over k_i)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::compeft
