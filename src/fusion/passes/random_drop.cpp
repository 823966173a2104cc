#include "fusion/passes/random_drop.h"

#include <ATen/TensorOperators.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/passes/direction.h"

namespace fusegrid {

namespace {

uint64_t drop_key(const FusionInput& in, size_t expert) {
  return derive_key(in.seed(), "dare/" + in.expert_names()[expert]);
}

}  // namespace

at::Tensor kept_at_random(const FusionInput& in, const Slice& slice, size_t expert, double drop_rate) {
  return kept_entries({drop_key(in, expert), slice.global_begin, drop_rate, 1}, slice.expert(expert));
}

std::vector<SliceVector> randomly_dropped(const FusionInput& in, const Slice& slice,
                                          const std::vector<double>& drop_rates,
                                          const std::vector<double>& factors) {
  std::vector<SliceVector> vectors = slice.task_vector_views();
  for (size_t i = 0; i < vectors.size(); ++i) {
    vectors[i].drop = {drop_key(in, i), slice.global_begin, drop_rates[i], factors[i]};
  }
  return vectors;
}

double l1_rescaling(double whole, double kept) {
  return whole < 1e-7 || kept < 1e-7 ? 1 : whole / kept;
}

at::Tensor with_l1_norm_of(const at::Tensor& whole, const at::Tensor& kept) {
  const auto norm = [](const at::Tensor& values) { return values.abs().sum(at::kDouble).item<double>(); };
  return kept * l1_rescaling(norm(whole), norm(kept));
}

std::vector<double> drop_rescaling(const FusionInput& in, const std::vector<double>& drop_rates,
                                   const std::string& rescale) {
  const size_t experts = in.num_experts();
  if (rescale != "l1") {
    std::vector<double> factors;
    for (size_t i = 0; i < in.tensors().size() * experts; ++i) {
      factors.push_back(rescale == "none" ? 1 : 1 / (1 - drop_rates[i % experts]));
    }
    return factors;
  }
  std::string key = "dare{" + seed_key(in);
  for (const double rate : drop_rates) {
    key += ":" + number_text(rate);
  }
  return in.scalars("l1_rescaling/" + key + "}", [&] {
    const std::vector<double> unscaled(experts, 1.0);
    const auto sums = in.reduce_per_tensor(2 * experts, [&](const Slice& slice, double* out) {
      const auto dropped = randomly_dropped(in, slice, drop_rates, unscaled);
      for (size_t i = 0; i < experts; ++i) {
        out[2 * i] = slice.task_vector(i).abs().sum(at::kDouble).item<double>();
        out[2 * i + 1] = dropped[i].tensor().abs().sum(at::kDouble).item<double>();
      }
    });
    std::vector<double> factors;
    for (const auto& tensor : sums) {
      for (size_t i = 0; i < experts; ++i) {
        factors.push_back(l1_rescaling(tensor[2 * i], tensor[2 * i + 1]));
      }
    }
    return factors;
  });
}

}  // namespace fusegrid
