// mergekit's sce, ram, ramplus_tl and arcee_fusion: every operation rounds, but for what says so.

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/var.h>

#include "fusion/compat/compat.h"
#include "fusion/passes/selection.h"

namespace fusegrid::compat::selective {
namespace {

// taus: [models, ...]
at::Tensor selected(const at::Tensor& taus, double density) {
  const at::Tensor variance = taus.var({0}, /*unbiased=*/false, /*keepdim=*/false);
  // the product is float32 in the original
  const auto count = static_cast<int64_t>((at::count_nonzero(variance) * density).item<double>());
  return largest_mask(variance.abs().to(at::kFloat), count).to(taus.scalar_type());
}

at::Tensor weights_of(const at::Tensor& taus) {
  const at::Tensor weights = taus.square().reshape({taus.size(0), -1}).mean({1});
  const double sum = weights.sum().item<double>();
  return std::abs(sum) < 1e-6 ? at::ones_like(weights) / static_cast<double>(weights.size(0)) : weights / sum;
}

FusedModel sce(const FusionInput& in, const CompatOptions& options) {
  const double density = options.number("density");
  return one_model(in.map_tensors([&](const Slice& slice) {
    at::Tensor taus = at::stack(stored_task_vectors(slice));
    if (density < 1) {
      taus = taus * selected(taus, density).unsqueeze(0);
    }
    std::vector<int64_t> column(static_cast<size_t>(taus.dim()), 1);
    column[0] = taus.size(0);
    const at::Tensor shares = weights_of(taus).view(column) * agreeing_signs(slice, taus);
    const at::Tensor step =
        sum_over_models(slice, taus * shares) / sum_over_models(slice, shares).clamp_min(1e-6);
    return (stored(slice, slice.base()) + step).to(at::kFloat);
  }));
}

const RegisterCompat sce_{"sce",
                          {.original = "sce",
                           .rounding = "every operation rounds",
                           .check = [](const CompatOptions& options) { options.require("scale", {"1"}); },
                           .fuse = sce}};

// -- ram

// What the entries of task vectors, flat [models, n], are: changed at all, by one model, by several.
struct Changes {
  at::Tensor taus;    // zero where they are not changed
  at::Tensor counts;  // models that changed an entry, int64 [1, n]
  at::Tensor by_one, by_several;
};

Changes changes_of(const Slice& slice, double epsilon) {
  const at::Tensor taus = at::stack(stored_task_vectors(slice));
  const at::Tensor flat = taus.view({taus.size(0), -1});
  const at::Tensor changed = flat.abs() > epsilon;
  const at::Tensor counts = changed.sum({0}, true);
  return {flat * changed, counts, counts == 1, counts > 1};
}

at::Tensor shared_mean(const Changes& changes) {
  return changes.taus * changes.by_several / changes.counts.clamp_min(1);
}

at::Tensor ram_of(const Slice& slice, double epsilon) {
  const Changes changes = changes_of(slice, epsilon);
  const at::Tensor step = sum_over_models(slice, changes.taus * changes.by_one + shared_mean(changes));
  return stored(slice, slice.base()) + step.view(slice.base().sizes());
}

// The original's result is float32 whatever T is: so are the factors of entries that one model changed.
at::Tensor ramplus_of(const Slice& slice, const CompatOptions& options) {
  const double epsilon = options.number("epsilon");
  const Changes changes = changes_of(slice, epsilon);
  const at::Tensor changed = changes.taus != 0;
  const at::Tensor shared = changed.logical_and(changes.by_several).sum({1});
  const at::Tensor alone = changed.logical_and(changes.by_one).sum({1}).clamp_min(epsilon);
  const at::Tensor factors = (shared / alone).clamp(0, options.number("alpha")) * options.number("r") + 1;
  const at::Tensor step =
      sum_over_models(slice, changes.taus * changes.by_one * factors.unsqueeze(-1) + shared_mean(changes));
  return stored(slice, slice.base()) + step.view(slice.base().sizes());
}

FusedModel ram(const FusionInput& in, const CompatOptions& options) {
  if (options.word("plus") == "tensor") {
    return one_model(
        in.map_tensors([&](const Slice& slice) { return ramplus_of(slice, options).to(at::kFloat); }));
  }
  const double epsilon = options.number("epsilon");
  return one_model(
      in.map_elements([&](const Slice& slice) { return ram_of(slice, epsilon).to(at::kFloat); }));
}

const RegisterCompat ram_{"ram",
                          {.original = "ram, ramplus_tl",
                           .rounding = "every operation rounds; ramplus_tl: factors and sums are float32",
                           .check =
                               [](const CompatOptions& options) {
                                 options.require("plus", {"none", "tensor"});
                                 options.require("scale", {"1"});
                               },
                           .fuse = ram}};

// -- arcee_fusion

// NaN is the largest number, as in the original's sort: in float16 a softmax may be zero where the epsilon that is
// added to it is, too.
at::Tensor quantile(const at::Tensor& values, float fraction) {
  const auto place = static_cast<int64_t>(fraction * static_cast<float>(values.numel() - 1));
  const at::Tensor numbers = values.masked_select(values == values).to(at::kFloat);
  const double found = place < numbers.numel() ? kth_value(numbers, place + 1) : std::nan("");
  return at::scalar_tensor(found, values.options());
}

// The original's result is float32 whatever T is: expert - base rounds to T, the sum does not.
FusedModel arcee_fusion(const FusionInput& in, const CompatOptions&) {
  return one_model(in.map_tensors([](const Slice& slice) {
    const at::Tensor base = stored(slice, slice.base());
    const at::Tensor expert = stored(slice, slice.expert(0));
    const at::Tensor scores = softmax_importance(expert, base);
    const at::Tensor range = quantile(scores, 0.75F) - quantile(scores, 0.25F);
    const at::Tensor threshold = quantile(scores, 0.5F) + range * 1.5;
    return base.to(at::kFloat) + (expert - base).to(at::kFloat) * (scores >= threshold);
  }));
}

const RegisterCompat arcee_fusion_{
    "arcee_fusion",
    {.original = "arcee_fusion (quartiles of all entries, where it samples a million)",
     .rounding = "every operation rounds but the last sum, which is float32",
     .check = [](const CompatOptions&) {},
     .fuse = arcee_fusion}};

}  // namespace
}  // namespace fusegrid::compat::selective
