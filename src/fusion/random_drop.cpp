#include "fusion/random_drop.h"

#include <ATen/TensorOperators.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/direction.h"
#include "fusion/random_numbers.h"

namespace fusegrid {

at::Tensor kept_at_random(const FusionInput& in, const Slice& slice, size_t expert, double drop_rate) {
  const uint64_t key = derive_key(in.seed(), "dare/" + in.tasks()[expert]);
  const at::Tensor& shaped = slice.expert(expert);
  const at::Tensor random = uniform_on(shaped.device(), key, 0, slice.global_begin, slice.count);
  return (random >= drop_rate).view(shaped.sizes());
}

at::Tensor randomly_dropped(const FusionInput& in, const Slice& slice, size_t expert, double drop_rate) {
  return slice.task_vector(expert) * kept_at_random(in, slice, expert, drop_rate);
}

double l1_rescaling(double whole, double kept) {
  return whole < 1e-7 || kept < 1e-7 ? 1 : whole / kept;
}

std::vector<double> drop_rescaling(const FusionInput& in, double drop_rate, const std::string& rescale) {
  const size_t experts = in.num_experts();
  if (rescale != "l1") {
    return std::vector(in.tensors().size() * experts, rescale == "none" ? 1 : 1 / (1 - drop_rate));
  }
  const std::string key = "dare{drop_rate=" + number_text(drop_rate) + "," + seed_key(in) + "}";
  return in.scalars("l1_rescaling/" + key, [&] {
    const auto sums = in.reduce_per_tensor(2 * experts, [&](const Slice& slice, double* out) {
      for (size_t i = 0; i < experts; ++i) {
        out[2 * i] = slice.task_vector(i).abs().sum(at::kDouble).item<double>();
        out[2 * i + 1] = randomly_dropped(in, slice, i, drop_rate).abs().sum(at::kDouble).item<double>();
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
