// SCE: select the entries in which the experts differ most, calculate a weight per expert from the size of
// its task vector there, erase minority signs; tensor by tensor.
//
// Source:  Wan et al., "FuseChat: Knowledge Fusion of Chat Models", EMNLP 2025, arXiv:2408.07990; constants
//          as in mergekit: equal weights where the mean squares sum to less than 1e-6, divisor at least
//          1e-6, a zero sum elects +, the density counts among entries of non-zero variance.
// Differs: of equal variances the first are selected (mergekit: unspecified). Variances and weights in
//          float64.
// Cost:    one pass over N experts, whole tensors, no sorting; a sweep of scales shares the direction.

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/selection.h"

namespace fusegrid::methods::sce {
namespace {

struct Options {
  double density = 0.1;
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries that differ between experts to select");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

// Calls visit(first entry, entries) for each block of a tensor: on CPUs so short that the operations' results stay in
// cache and need no fresh memory. The last takes the rest too: LibTorch adds up a single column in another order.
template <typename Visit>
void for_each_block(const Slice& slice, const Visit& visit) {
  const int64_t block = slice.base().is_cpu() ? 1 << 13 : slice.count;
  for (int64_t begin = 0; begin < slice.count;) {
    const int64_t left = slice.count - begin;
    const int64_t count = left < 2 * block ? left : block;
    visit(begin, count);
    begin += count;
  }
}

at::Tensor block_of(const at::Tensor& whole, int64_t begin, int64_t count) {
  return whole.reshape({-1}).narrow(0, begin, count);
}

at::Tensor tau_of(const Slice& slice, size_t expert, int64_t begin, int64_t count) {
  return at::sub(block_of(slice.expert(expert), begin, count), block_of(slice.base(), begin, count))
      .to(at::kDouble);
}

at::Tensor empty_of(const Slice& slice) {
  return at::empty({slice.count}, slice.base().options().dtype(at::kDouble));
}

// The entries with the largest variance over the experts, as a bool mask [entries].
at::Tensor selected(const Slice& slice, double density) {
  const at::Tensor variance = empty_of(slice);
  for_each_block(slice, [&](int64_t begin, int64_t count) {
    std::vector<at::Tensor> taus;
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      taus.push_back(tau_of(slice, i, begin, count));
    }
    const at::Tensor all = at::stack(taus);
    block_of(variance, begin, count).copy_((all - all.mean(0, true)).square_().mean(0));
  });
  const auto candidates = static_cast<double>((variance != 0).sum().item<int64_t>());
  return largest_mask(variance, static_cast<int64_t>(candidates * density));
}

std::vector<double> weights_of(const Slice& slice, const at::Tensor& mask) {
  std::vector<double> weights;
  double total = 0;
  const at::Tensor squares = empty_of(slice);
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    for_each_block(slice, [&](int64_t begin, int64_t count) {
      const at::Tensor kept = tau_of(slice, i, begin, count).mul_(block_of(mask, begin, count));
      block_of(squares, begin, count).copy_(kept.square_());
    });
    weights.push_back(squares.mean().item<double>());
    total += weights.back();
  }
  for (double& weight : weights) {
    weight = total < 1e-6 ? 1 / static_cast<double>(weights.size()) : weight / total;
  }
  return weights;
}

at::Tensor merged_block(const std::vector<at::Tensor>& taus, const std::vector<double>& weights) {
  const at::Tensor positive = sum_of(taus) >= 0;
  at::Tensor sum = at::zeros_like(taus[0]);
  at::Tensor divisor = at::zeros_like(taus[0]);
  for (size_t i = 0; i < taus.size(); ++i) {
    const at::Tensor agrees = at::where(positive, taus[i] > 0, taus[i] < 0).to(at::kDouble);
    sum.add_(taus[i] * agrees, weights[i]);
    divisor.add_(agrees, weights[i]);
  }
  return sum.div_(divisor.clamp_min_(1e-6));
}

at::Tensor merged(const Slice& slice, double density) {
  const at::Tensor mask = density < 1 ? selected(slice, density)
                                      : at::ones({slice.count}, slice.base().options().dtype(at::kBool));
  const std::vector<double> weights = weights_of(slice, mask);
  at::Tensor result = at::empty(slice.base().sizes(), slice.base().options());
  for_each_block(slice, [&](int64_t begin, int64_t count) {
    const at::Tensor here = block_of(mask, begin, count).to(at::kDouble);
    std::vector<at::Tensor> taus;
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      taus.push_back(tau_of(slice, i, begin, count).mul_(here));
    }
    block_of(result, begin, count).copy_(merged_block(taus, weights));
  });
  return result;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.tensor_field(key,
                         [density = options.density](const Slice& slice) { return merged(slice, density); });
}

const RegisterDirection<Options> registered{
    {.name = "sce",
     .title = "SCE",
     .paper = "Wan et al., EMNLP 2025, arXiv:2408.07990",
     .formula =
         R"(select     t_i = tau_i where Var_i(tau_i) is among the density largest of the tensor, else 0
calculate  w_i = mean t_i^2 / sum_j mean t_j^2
erase      m_i = [t_i has the sign of sum_j t_j]
theta = theta_0 + scale * sum_i w_i m_i t_i / sum_i w_i m_i)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::sce
