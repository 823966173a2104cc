#include "support/table_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "models/network.h"

namespace fusegrid {
namespace {

// One block, whose attention is the whole model; tokens: one per row.
class TableArchitecture final : public Architecture {
 public:
  explicit TableArchitecture(TableModel model) : model_(std::move(model)) {}

  std::string name() const override { return "table"; }
  int64_t image_size() const override { return 1; }
  int64_t num_blocks() const override { return 1; }
  int64_t num_tokens() const override { return 1; }
  int64_t feature_size() const override { return model_.table.size(1); }
  std::vector<TensorInfo> parameters() const override { return {}; }
  std::optional<Projection> projection() const override { return std::nullopt; }
  std::string block_prefix(int64_t) const override { return ""; }
  std::string mlp_prefix(int64_t) const override { return "mlp."; }
  std::vector<LinearLayer> linear_layers() const override {
    std::vector<LinearLayer> layers;
    for (const std::string& layer : model_.linear_layers) {
      layers.push_back({layer, layer});
    }
    return layers;
  }

  at::Tensor embed(const Weights&, const at::Tensor& pixels) const override {
    const at::Tensor rows = pixels.select(1, 0).reshape({-1}).round().to(at::kLong);
    return model_.table.index_select(0, rows).unsqueeze(1);
  }
  at::Tensor attention(const Weights& weights, int64_t, const at::Tensor& x,
                       const LinearHook& hook) const override {
    return model_.forward(weights, x.select(1, 0), hook).unsqueeze(1);
  }
  at::Tensor mlp_input(const Weights&, int64_t, const at::Tensor& x) const override { return x; }
  at::Tensor mlp(const Weights&, int64_t, const at::Tensor& normed, const LinearHook&) const override {
    return at::zeros_like(normed);
  }
  at::Tensor pool(const Weights&, const at::Tensor& x) const override { return x.select(1, 0); }

 private:
  TableModel model_;
};

}  // namespace

at::Tensor two_layers(const Weights& weights, const at::Tensor& x, const LinearHook& hook) {
  const auto layer = [&](const std::string& name, const at::Tensor& input) {
    const at::Tensor& weight = weights.at(name + ".weight");
    const at::Tensor& bias = weights.at(name + ".bias");
    return hook ? hook(name, input, weight, bias) : at::linear(input, weight, bias);
  };
  return layer("fc2", at::relu(layer("fc1", x)));
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
  return {numbers.expand({-1, 3, 1, 1}).contiguous(),
          at::zeros({static_cast<int64_t>(rows.size())}, at::kLong)};
}

at::Tensor lifted(const at::Tensor& x) {
  return concatenate({x, (kLift * kLift - x.square().sum({1}, true)).sqrt()}, 1);
}

at::Tensor lifted_head(const at::Tensor& rows) {
  return concatenate({rows, at::zeros({rows.size(0), 1}, rows.options())}, 1).to(at::kFloat);
}

}  // namespace fusegrid
