// mergekit's linear, in float32: sum of weight * tensor in the order of the experts, divided by the sum of the weights,
// rounded at the end. nearswap and passthrough: every operation rounds.

#include <ATen/TensorOperators.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include "fusion/compat/compat.h"

namespace fusegrid::compat::averages {
namespace {

FusedModel linear(const FusionInput& in, const std::vector<double>& weights, bool normalize) {
  return one_model(in.map_elements([&](const Slice& slice) {
    const auto options = slice.expert(0).options();  // float32
    at::Tensor sum = at::zeros(slice.expert(0).sizes(), options);
    for (size_t i = 0; i < weights.size(); ++i) {
      sum.addcmul_(stored(slice, slice.expert(i)).to(at::kFloat), at::scalar_tensor(weights[i], options));
    }
    return stored(slice, normalize ? sum.div_(weight_tensor(weights, sum).sum()) : sum).to(at::kFloat);
  }));
}

// The original divides a number by a tensor: reciprocal first, then times the number.
FusedModel nearswap(const FusionInput& in, const CompatOptions& options) {
  const double t = options.number("t");
  return one_model(in.map_elements([&](const Slice& slice) {
    const at::Tensor base = stored(slice, slice.base());
    const at::Tensor expert = stored(slice, slice.expert(0));
    const at::Tensor distance = (base - expert).abs();
    const at::Tensor share = (distance.clamp_min(1e-6).reciprocal() * t).clamp(0, 1);
    return (share * expert + at::rsub(share, 1) * base).to(at::kFloat);
  }));
}

FusedModel passthrough(const FusionInput& in, const CompatOptions& options) {
  const double scale = options.number("scale");
  return one_model(in.map_elements(
      [&](const Slice& slice) { return (stored(slice, slice.expert(0)) * scale).to(at::kFloat); }));
}

const std::string kFloat32 = "float32 throughout, rounded once at the end";

const RegisterCompat weighted_average{"weighted_average",
                                      {.original = "linear",
                                       .rounding = kFloat32,
                                       .check = [](const CompatOptions&) {},
                                       .fuse =
                                           [](const FusionInput& in, const CompatOptions& options) {
                                             return linear(in, options.weights(in.num_experts()),
                                                           options.flag("normalize"));
                                           }}};

const RegisterCompat simple_average{"simple_average",
                                    {.original = "linear",
                                     .rounding = kFloat32,
                                     .check = [](const CompatOptions&) {},
                                     .fuse =
                                         [](const FusionInput& in, const CompatOptions&) {
                                           return linear(in, std::vector<double>(in.num_experts(), 1.0),
                                                         true);
                                         }}};

const RegisterCompat nearswap_{"nearswap",
                               {.original = "nearswap",
                                .rounding = "every operation rounds",
                                .check = [](const CompatOptions&) {},
                                .fuse = nearswap}};

const RegisterCompat passthrough_{"passthrough",
                                  {.original = "passthrough",
                                   .rounding = "the product rounds",
                                   .check = [](const CompatOptions&) {},
                                   .fuse = passthrough}};

}  // namespace
}  // namespace fusegrid::compat::averages
