// Models whose inputs are numbers of rows of a table, as "images" of one or tokens of several: so the small networks of
// the golden values run through the methods as they are, data and all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/network.h"
#include "support/test_zoo.h"

namespace fusegrid {

// features = forward(weights, x, pass) with x = rows of `table`, float [batch, inputs], or [batch, width, inputs] of
// tokens.
struct TableModel {
  at::Tensor table;                 // float [rows, inputs]
  std::vector<std::string> layers;  // each its own Gram matrix
  std::function<at::Tensor(const Weights& weights, const at::Tensor& x, const Pass& pass)> forward;
};

// fc2(relu(fc1(x)))
at::Tensor two_layers(const Weights& weights, const at::Tensor& x, const Pass& pass);

// An empty zoo around the model; images are 1 x 1 pixels.
TestZoo table_zoo(const TableModel& model);
// uint8 [n, 3, 1, 1] that stand for these rows (at most 255), labelled 0.
Examples images_of_rows(const std::vector<int64_t>& rows);
// The same as tokens; what fills a row up stands for row 0.
Examples tokens_of_rows(const std::vector<std::vector<int64_t>>& rows);

// Features lifted on a sphere of radius kLift around the origin, so that the normalisation of a cosine readout leaves
// their first columns proportional to `x`: with lifted_readout(rows) the logits are x rows^T.
constexpr double kLift = 32;
at::Tensor lifted(const at::Tensor& x);
std::shared_ptr<const Readout> lifted_readout(const at::Tensor& rows, double radius = kLift);

}  // namespace fusegrid
