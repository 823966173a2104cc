#pragma once

#include <string>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "comm/collectives.h"

namespace fusegrid {

// Runs every operation on this rank and returns what is wrong; the expected values are worked out from the
// number of ranks alone. All ranks must call it.
inline std::vector<std::string> check_collectives(Collectives& group, at::Device device) {
  std::vector<std::string> wrong;
  const auto expect = [&](bool right, const std::string& what) {
    if (!right) {
      wrong.push_back("rank " + std::to_string(group.rank()) + ": " + what);
    }
  };
  const int64_t n = group.size(), r = group.rank(), sum = n * (n - 1) / 2;
  group.barrier();

  std::vector<int64_t> counts{r, (int64_t{1} << 60) / n, -r};
  group.all_reduce_sum(std::span<int64_t>(counts));
  expect(counts == std::vector<int64_t>{sum, (int64_t{1} << 60) / n * n, -sum}, "sum of integers");

  std::vector<double> mine(r, 0.1 * static_cast<double>(r));  // rank 0 contributes nothing
  const auto all = group.all_gather(mine);
  expect(static_cast<int64_t>(all.size()) == n, "number of gathered parts");
  for (int64_t i = 0; i < n; ++i) {
    expect(all[i] == std::vector<double>(i, 0.1 * static_cast<double>(i)), "gathered part");
  }
  expect(static_cast<int64_t>(group.all_gather({}).size()) == n, "gathering nothing");

  const auto on_device = at::TensorOptions().device(device);
  for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kHalf, at::kBFloat16}) {
    auto tensor = at::full({5, 7}, static_cast<double>(r + 1), on_device.dtype(type));
    group.all_reduce_sum(tensor);
    expect(at::equal(tensor, at::full({5, 7}, static_cast<double>(sum + n), on_device.dtype(type))),
           std::string("sum of tensors of ") + at::toString(type));
  }
  for (int root = 0; root < n; ++root) {
    auto tensor = r == root ? at::arange(root, 1000 + root, on_device.dtype(at::kLong))
                            : at::zeros({1000}, on_device.dtype(at::kLong));
    group.broadcast(tensor, root);
    expect(at::equal(tensor, at::arange(root, 1000 + root, on_device.dtype(at::kLong))), "broadcast");
  }
  group.barrier();
  return wrong;
}

}  // namespace fusegrid
