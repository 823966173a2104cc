// FR-Merging: add the task vectors without what their matrices have of low frequencies, each as large as the largest.
//
// Source:  Zheng & Wang, "FREE-Merging: Fourier Transform for Model Merging with Lightweight Experts", 2024,
//          arXiv:2411.16815, its merged backbone, and the authors' code: kept are the frequencies (y, x) of the
//          discrete transform that lie within `radius` times the shorter side of (rows / 2, columns / 2), which is the
//          highest one; then each task's mean magnitude becomes the largest of all tasks, matrix by matrix.
// Differs: tensors that are no matrices of linear layers are averaged (the authors' code takes some of the first
//          expert, others of the base), and no frequency counts twice (theirs do at a tenth of the side). The experts
//          of FREE-Merging and their router, which is a network of its own, are left out.
// Cost:    a Fourier transform and its inverse per matrix and expert; a sweep of scales shares them.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/fft_fft2.h>
#include <ATen/ops/fft_ifft2.h>
#include <ATen/ops/real.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::fr_merging {
namespace {

struct Options {
  double radius = 0.7;
  bool align = true;
  double scale = 0.3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("radius", radius, Range{0, 100},
            "of the frequencies that are kept, in units of the shorter side");
    v.param("align", align, "make the mean magnitude of each task's matrix the largest of all tasks");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

at::Tensor without_low_frequencies(const at::Tensor& tau, double radius) {
  const int64_t rows = tau.size(0);
  const int64_t columns = tau.size(1);
  const at::Tensor y = (at::arange(rows, tau.options()) - rows / 2).square().unsqueeze(1);
  const at::Tensor x = (at::arange(columns, tau.options()) - columns / 2).square();
  const at::Tensor kept = (y + x).sqrt() <= static_cast<double>(std::min(rows, columns)) * radius;
  return at::real(at::fft_ifft2(at::fft_fft2(tau) * kept));
}

at::Tensor merged(const Slice& slice, const Options& options) {
  if (!is_linear_weight(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  std::vector<at::Tensor> kept;
  std::vector<double> sizes;
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    kept.push_back(without_low_frequencies(exact_task_vector(slice, i), options.radius));
    sizes.push_back(kept.back().abs().mean().item<double>());
  }
  const double largest = *std::max_element(sizes.begin(), sizes.end());
  at::Tensor sum = at::zeros_like(kept[0]);
  for (size_t i = 0; i < kept.size(); ++i) {
    if (sizes[i] > 0) {
      sum.add_(kept[i], options.align ? largest / sizes[i] : 1);
    }
  }
  return sum.to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [options](const Slice& slice) { return merged(slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "fr_merging",
     .title = "FR-Merging",
     .paper = "Zheng & Wang, 2024, arXiv:2411.16815",
     .formula = R"(layers  f_i = F^-1(H F(tau_i)),   H = [|k - highest| <= radius * min(rows, columns)]
        tau = sum_i f_i max_j mean|f_j| / mean|f_i|
others  tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::fr_merging
