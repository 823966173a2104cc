#include "models/readout.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/tensor.h>

#include "core/errors.h"
#include "models/unit_rows.h"

namespace fusegrid {
namespace {

at::Tensor in_float(const at::Tensor& features) {
  return features.to(at::promote_types(features.scalar_type(), at::kFloat));
}

at::Tensor columns_mapped(const at::Tensor& matrix, const at::Tensor& map) {
  return at::matmul(matrix.to(map.scalar_type()), map).to(matrix.scalar_type());
}

class CosineReadout final : public Readout {
 public:
  CosineReadout(at::Tensor rows, double scale, at::Tensor projection)
      : rows_(std::move(rows)), scale_(scale), projection_(std::move(projection)) {}

  Pooling pooling() const override { return Pooling::kFirst; }
  int64_t features() const override { return projection_.defined() ? projection_.size(1) : rows_.size(1); }
  int64_t outputs() const override { return rows_.size(0); }
  at::Tensor operator()(const Weights&, const at::Tensor& features) const override {
    at::Tensor x = in_float(features);
    if (projection_.defined()) {
      x = at::linear(x, projection_.to(x.scalar_type()));
    }
    return scale_ * at::linear(unit_rows(x), rows_.to(x.scalar_type()));
  }
  Weights weights() const override {
    Weights all{{"rows", rows_}, {"scale", at::tensor({scale_}, at::kDouble)}};
    if (projection_.defined()) {
      all.emplace("projection", projection_);
    }
    return all;
  }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return cosine_readout(rows_.to(device), scale_,
                          projection_.defined() ? projection_.to(device) : projection_);
  }
  std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const override {
    return cosine_readout(
        rows_, scale_,
        projection_.defined() ? columns_mapped(projection_, map) : map.to(rows_.scalar_type()));
  }

 private:
  at::Tensor rows_;
  double scale_;
  at::Tensor projection_;
};

class AffineReadout final : public Readout {
 public:
  AffineReadout(at::Tensor weight, at::Tensor bias, Pooling pooling)
      : weight_(std::move(weight)), bias_(std::move(bias)), pooling_(pooling) {}

  Pooling pooling() const override { return pooling_; }
  int64_t features() const override { return weight_.size(1); }
  int64_t outputs() const override { return weight_.size(0); }
  bool is_affine() const override { return true; }
  at::Tensor operator()(const Weights&, const at::Tensor& features) const override {
    const at::Tensor x = in_float(features);
    return at::linear(x, weight_.to(x.scalar_type()), bias_.to(x.scalar_type()));
  }
  Weights weights() const override { return {{"weight", weight_}, {"bias", bias_}}; }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return affine_readout(weight_.to(device), bias_.to(device), pooling_);
  }
  std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const override {
    return affine_readout(columns_mapped(weight_, map), bias_, pooling_);
  }

 private:
  at::Tensor weight_, bias_;
  Pooling pooling_;
};

class OwnReadout final : public Readout {
 public:
  OwnReadout(OwnHead head, int64_t features, int64_t outputs)
      : head_(std::move(head)), features_(features), outputs_(outputs) {}

  Pooling pooling() const override { return head_.pooling; }
  int64_t features() const override { return features_; }
  int64_t outputs() const override { return outputs_; }
  // The product is made in the dtype of the tensor, which may be too large to be held in float32 as well.
  at::Tensor operator()(const Weights& model, const at::Tensor& features) const override {
    const at::Tensor& rows = model.at(head_.weight);
    const at::Tensor bias = head_.bias.empty() ? at::Tensor() : model.at(head_.bias);
    return in_float(at::linear(features.to(rows.scalar_type()) * head_.scale, rows, bias));
  }
  Weights weights() const override { return {}; }
  std::shared_ptr<const Readout> to(at::Device) const override {
    return own_readout(head_, features_, outputs_);
  }

 private:
  OwnHead head_;
  int64_t features_, outputs_;
};

class FeaturesReadout final : public Readout {
 public:
  explicit FeaturesReadout(int64_t features) : features_(features) {}

  Pooling pooling() const override { return Pooling::kNone; }
  int64_t features() const override { return features_; }
  int64_t outputs() const override { return features_; }
  at::Tensor operator()(const Weights&, const at::Tensor& features) const override {
    return in_float(features);
  }
  Weights weights() const override { return {}; }
  std::shared_ptr<const Readout> to(at::Device) const override { return features_readout(features_); }

 private:
  int64_t features_;
};

}  // namespace

std::shared_ptr<const Readout> Readout::of_mapped_features(const at::Tensor& /*map*/) const {
  throw ConfigError(
      "a head of this kind cannot read features that were permuted or merged; leave methods of alignment "
      "out, or run "
      "them on tasks of another kind");
}

std::shared_ptr<const Readout> own_readout(const OwnHead& head, int64_t features, int64_t outputs) {
  return std::make_shared<OwnReadout>(head, features, outputs);
}

std::shared_ptr<const Readout> features_readout(int64_t features) {
  return std::make_shared<FeaturesReadout>(features);
}

std::shared_ptr<const Readout> cosine_readout(at::Tensor rows, double scale, at::Tensor projection) {
  return std::make_shared<CosineReadout>(std::move(rows), scale, std::move(projection));
}

std::shared_ptr<const Readout> affine_readout(at::Tensor weight, at::Tensor bias, Pooling pooling) {
  return std::make_shared<AffineReadout>(std::move(weight), std::move(bias), pooling);
}

}  // namespace fusegrid
