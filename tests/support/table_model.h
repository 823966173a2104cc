// Models whose "images" are numbers of rows of a table: so the small networks of the golden values run
// through the methods as they are, data and all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/architecture.h"
#include "support/test_zoo.h"

namespace fusegrid {

// features = forward(weights, x, hook) with x = rows of `table`, float [batch, inputs].
struct TableModel {
  at::Tensor table;                        // float [rows, inputs]
  std::vector<std::string> linear_layers;  // each its own Gram matrix
  std::function<at::Tensor(const Weights& weights, const at::Tensor& x, const LinearHook& hook)> forward;
};

// fc2(relu(fc1(x)))
at::Tensor two_layers(const Weights& weights, const at::Tensor& x, const LinearHook& hook);

// An empty zoo around the model; images are 1 x 1 pixels.
TestZoo table_zoo(const TableModel& model);
// uint8 [n, 3, 1, 1] that stand for these rows (at most 255).
Examples images_of_rows(const std::vector<int64_t>& rows);

// Features lifted on a sphere of radius kLift around the origin, so that the network's normalisation leaves
// their first columns proportional to `x`: with heads {lifted_head(rows), kLift} the logits are x rows^T.
constexpr double kLift = 32;
at::Tensor lifted(const at::Tensor& x);
at::Tensor lifted_head(const at::Tensor& rows);

}  // namespace fusegrid
