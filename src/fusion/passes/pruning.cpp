#include "fusion/passes/pruning.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/ones.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid {
namespace {

int64_t dropped_per_row(int64_t columns, double ratio) {
  return static_cast<int64_t>(static_cast<double>(columns) * ratio);
}

// Numbers stored for the linear weights of one expert and for its other tensors.
struct Stored {
  double linear = 0;
  double others = 0;
};

Stored stored_per_expert(const FusionInput& in, double ratio) {
  Stored stored;
  for (const TensorInfo& info : in.tensors()) {
    const auto entries = static_cast<double>(info.numel());
    if (is_linear_weight(info)) {
      const int64_t rows = info.shape[0];
      const int64_t dropped = rows * dropped_per_row(info.numel() / rows, ratio);
      stored.linear += entries - static_cast<double>(dropped) + entries / 32;
    } else {
      stored.others += entries;
    }
  }
  return stored;
}

FusedModel per_task(const FusionInput& in, double stored, const Prune& value) {
  auto models = in.map_matrices(in.num_experts(), [&](const Slice& slice) {
    std::vector<at::Tensor> values;
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      values.push_back(value(slice, i));
    }
    return values;
  });
  return models_of_tasks(in, std::move(models), stored);
}

}  // namespace

at::Tensor kept_per_row(const at::Tensor& scores, double ratio) {
  const at::Tensor order = at::argsort(scores, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  const int64_t dropped = dropped_per_row(scores.size(1), ratio);
  return at::ones(scores.sizes(), scores.options().dtype(at::kBool))
      .scatter_(1, order.narrow(1, 0, dropped), 0);
}

FusedModel pruned_models(const FusionInput& in, double ratio, const Prune& prune) {
  const Stored stored = stored_per_expert(in, ratio);
  const auto experts = static_cast<double>(in.num_experts());
  return per_task(in, experts * (stored.linear + stored.others), [&](const Slice& slice, size_t i) {
    return is_linear_weight(*slice.info) ? prune(slice, i) : slice.expert(i);
  });
}

FusedModel pruned_changes(const FusionInput& in, double ratio,
                          const std::function<at::Tensor(const at::Tensor& tau)>& prune) {
  const auto base = static_cast<double>(in.num_elements());
  const auto experts = static_cast<double>(in.num_experts());
  const double stored = base + experts * stored_per_expert(in, ratio).linear;
  return per_task(in, stored, [&](const Slice& slice, size_t i) {
    const at::Tensor tau = slice.task_vector(i);
    return is_linear_weight(*slice.info) ? slice.base() + prune(tau) : slice.base();
  });
}

}  // namespace fusegrid
