#include "fusion/alignment/transport.h"

#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/role.h"
#include "fusion/alignment/assignment.h"
#include "fusion/alignment/sinkhorn.h"

namespace fusegrid {

at::Tensor live_units(const Weights& weights, const AxisGroup& group) {
  at::Tensor live;
  for (const AxisGroup::Axis& axis : group.axes) {
    const at::Tensor& tensor = weights.at(axis.tensor);
    if (!axis.makes || is_running_statistic({axis.tensor, tensor.sizes().vec(), tensor.scalar_type()})) {
      continue;
    }
    const at::Tensor made = (tensor.movedim(axis.axis, 0).reshape({group.size, -1}) != 0).any(1);
    live = live.defined() ? live.logical_or(made) : made;
  }
  FUSEGRID_ASSERT(live.defined(), "a group of axes that nothing makes");
  return live;
}

at::Tensor exact_transport(const at::Tensor& cost) {
  const int64_t n = cost.size(0), m = cost.size(1), copies = std::lcm(n, m);
  const at::Tensor of_copies = cost.repeat_interleave(copies / n, 0).repeat_interleave(copies / m, 1);
  const std::vector<int64_t> columns = best_assignment(-of_copies);
  at::Tensor counts = at::zeros({n, m}, at::kDouble);
  for (int64_t row = 0; row < copies; ++row) {
    counts[row * n / copies][columns[static_cast<size_t>(row)] * m / copies] += 1;
  }
  return (counts / static_cast<double>(copies / n)).to(cost.device());
}

at::Tensor entropic_transport(const at::Tensor& cost, double temperature, int64_t iterations,
                              double tolerance) {
  const auto largest = cost.max().item<double>();
  const at::Tensor scores = largest > 0 ? -cost / largest : -cost;
  return sinkhorn(scores, temperature, iterations, tolerance);
}

UnitMap map_of_transport(const at::Tensor& transport, const at::Tensor& to, const at::Tensor& from) {
  const double columns_of_a_row =
      static_cast<double>(transport.size(1)) / static_cast<double>(transport.size(0));
  const at::Tensor rows = to.nonzero().squeeze(1), columns = from.nonzero().squeeze(1);
  const auto of_all = [&](const at::Tensor& of_live) {
    const at::Tensor wide = at::zeros({to.size(0), columns.size(0)}, of_live.options());
    const at::Tensor all = at::zeros({to.size(0), from.size(0)}, of_live.options());
    return all.index_copy(1, columns, wide.index_copy(0, rows, of_live));
  };
  return {of_all(transport), of_all(transport * columns_of_a_row).t()};
}

}  // namespace fusegrid
