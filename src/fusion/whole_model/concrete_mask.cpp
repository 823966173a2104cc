#include "fusion/whole_model/concrete_mask.h"

#include <map>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logit.h>
#include <ATen/ops/sigmoid.h>

#include "core/philox.h"
#include "fusion/loops/random_numbers.h"

namespace fusegrid {
namespace {

constexpr double kLeastUniform = 6e-8;  // below the smallest step of the uniform numbers: logits stay finite
constexpr double kLeastMean = 1e-12;    // of a mask of zeros

}  // namespace

ConcreteMask::ConcreteMask(const FusionInput& in, const std::vector<std::string>& tensors,
                           const ConcreteOptions& options)
    : device_(in.device()), key_(derive_key(in.seed(), "concrete")), temperature_(options.temperature) {
  std::map<std::string, int64_t> begins;
  int64_t begin = 0;
  for (const TensorInfo& info : in.tensors()) {
    begins[info.name] = begin;
    begin += info.numel();
  }
  for (const std::string& name : tensors) {
    const at::Tensor logits = at::full(in.base().at(name).sizes(), options.initial_logit,
                                       at::TensorOptions(device_).dtype(at::kFloat));
    all_.push_back({begins.at(name), logits, {}, Adam(logits, options.lr)});
  }
}

at::Tensor ConcreteMask::uniform_numbers(const One& one, int64_t draw) const {
  return uniform_on(device_, key_, static_cast<uint64_t>(draw), one.begin, one.logits.numel())
      .view(one.logits.sizes());
}

void ConcreteMask::draw(int64_t draw) {
  draws_ = draw + 1;
  for (One& one : all_) {
    const at::Tensor noise = at::logit(uniform_numbers(one, draw), kLeastUniform);
    one.drawn = noise.add_(one.logits).div_(temperature_).sigmoid_();
  }
}

void ConcreteMask::settle(const std::string& kind) {
  const int64_t last = draws_;
  if (kind == "continuous") {
    draw(last);
    return;
  }
  for (One& one : all_) {
    const at::Tensor mean = at::sigmoid(one.logits);
    one.drawn = kind == "mean" ? mean : (uniform_numbers(one, last) < mean).to(at::kFloat);
  }
}

at::Tensor ConcreteMask::of(size_t tensor) const {
  const at::Tensor& drawn = all_[tensor].drawn;
  return drawn / drawn.mean().clamp_min(kLeastMean);
}

at::Tensor ConcreteMask::logit_gradient(size_t tensor, const at::Tensor& gradient) const {
  const at::Tensor& m = all_[tensor].drawn;
  const at::Tensor mean = m.mean().clamp_min(kLeastMean);
  const at::Tensor along = (gradient * m).mean() / mean;  // the mean moves with every entry
  return (gradient - along) / mean * m * (1 - m) / temperature_;
}

void ConcreteMask::step(size_t tensor, const at::Tensor& gradient) {
  all_[tensor].adam.step(logit_gradient(tensor, gradient));
}

void merge_masked(const FusionInput& in, CoefficientMerge& merged, const ConcreteMask& mask,
                  const std::vector<at::Tensor>& moved) {
  const at::NoGradGuard no_grad;
  for (size_t t = 0; t < moved.size(); ++t) {
    const std::string& name = merged.moving()[t];
    merged.weights()[name] = (in.base().at(name) + mask.of(t) * moved[t]).requires_grad_(true);
  }
}

void step_mask(const CoefficientMerge& merged, ConcreteMask& mask, const std::vector<at::Tensor>& moved) {
  const at::NoGradGuard no_grad;
  for (size_t t = 0; t < moved.size(); ++t) {
    const at::Tensor& gradient = merged.weights().at(merged.moving()[t]).grad();
    if (gradient.defined()) {
      mask.step(t, gradient * moved[t]);
    }
  }
}

}  // namespace fusegrid
