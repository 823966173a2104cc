#include "support/table_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "models/operators.h"

namespace fusegrid {
namespace {

class TableArchitecture final : public Architecture {
 public:
  explicit TableArchitecture(TableModel model) : model_(std::move(model)) {}

  std::string name() const override { return "table"; }
  InputFormat input() const override {
    return {.image_size = 1, .vocabulary = model_.table.size(0), .positions = 64};
  }
  int64_t feature_size() const override { return model_.table.size(1); }
  int64_t num_tokens() const override { return 1; }
  std::vector<TensorInfo> parameters() const override { return {}; }
  std::vector<Layer> layers() const override {
    std::vector<Layer> layers;
    for (const std::string& name : model_.layers) {
      layers.emplace_back(name);
    }
    return layers;
  }

  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling,
                      const Pass& pass) const override {
    const at::Tensor rows = inputs.tokens.defined()
                                ? inputs.tokens
                                : inputs.images.select(1, 0).reshape({-1}).round().to(at::kLong);
    return model_.forward(weights, embedded(model_.table, rows), pass);
  }

 private:
  TableModel model_;
};

}  // namespace

at::Tensor two_layers(const Weights& weights, const at::Tensor& x, const Pass& pass) {
  return apply(Layer("fc2"), weights, at::relu(apply(Layer("fc1"), weights, x, pass)), pass);
}

TestZoo table_zoo(const TableModel& model) {
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = std::make_shared<TableArchitecture>(model);
  zoo.network->normalisation = {{0, 0, 0}, {1 / 255.0, 1 / 255.0, 1 / 255.0}};  // pixels are row numbers
  return zoo;
}

Examples images_of_rows(const std::vector<int64_t>& rows) {
  const at::Tensor numbers = at::tensor(rows, at::kLong).to(at::kByte).view({-1, 1, 1, 1});
  return {{numbers.expand({-1, 3, 1, 1}).contiguous(), {}, {}},
          at::zeros({static_cast<int64_t>(rows.size())}, at::kLong)};
}

Examples tokens_of_rows(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets{0};
  for (const std::vector<int64_t>& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  return {token_inputs(at::tensor(ids, at::kLong), at::tensor(offsets, at::kLong), 0),
          at::zeros({static_cast<int64_t>(rows.size())}, at::kLong)};
}

at::Tensor lifted(const at::Tensor& x) {
  return concatenate({x, (kLift * kLift - x.square().sum({1}, true)).sqrt()}, 1);
}

std::shared_ptr<const Readout> lifted_readout(const at::Tensor& rows, double radius) {
  const at::Tensor widened = concatenate({rows, at::zeros({rows.size(0), 1}, rows.options())}, 1);
  return cosine_readout(widened.to(at::kFloat), radius);
}

}  // namespace fusegrid
