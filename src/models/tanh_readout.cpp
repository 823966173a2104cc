#include "models/tanh_readout.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/promote_types.h>

namespace fusegrid {
namespace {

class TanhReadout final : public Readout {
 public:
  TanhReadout(at::Tensor weight, at::Tensor bias, std::shared_ptr<const Readout> head)
      : weight_(std::move(weight)), bias_(std::move(bias)), head_(std::move(head)) {}

  Pooling pooling() const override { return head_->pooling(); }
  int64_t features() const override { return weight_.size(1); }
  int64_t outputs() const override { return head_->outputs(); }
  at::Tensor operator()(const Weights& model, const at::Tensor& features) const override {
    const at::Tensor x = features.to(at::promote_types(features.scalar_type(), at::kFloat));
    return (*head_)(model, at::linear(x, weight_.to(x.scalar_type()), bias_.to(x.scalar_type())).tanh());
  }
  Weights weights() const override {
    Weights all = head_->weights();
    all.emplace("hidden.weight", weight_);
    all.emplace("hidden.bias", bias_);
    return all;
  }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return tanh_readout(weight_.to(device), bias_.to(device), head_->to(device));
  }
  std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const override {
    const at::Tensor weight = at::matmul(weight_.to(map.scalar_type()), map).to(weight_.scalar_type());
    return tanh_readout(weight, bias_, head_);
  }

 private:
  at::Tensor weight_, bias_;
  std::shared_ptr<const Readout> head_;
};

}  // namespace

std::shared_ptr<const Readout> tanh_readout(at::Tensor weight, at::Tensor bias,
                                            std::shared_ptr<const Readout> head) {
  return std::make_shared<TanhReadout>(std::move(weight), std::move(bias), std::move(head));
}

}  // namespace fusegrid
