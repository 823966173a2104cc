#include "zoo/probe.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

// Three classes that overlap, on features of different scale: [90, 4], of which the last is constant.
struct Blobs {
  at::Tensor features = normal(1, 0, 0, 90 * 4).view({90, 4});
  at::Tensor labels = at::empty({90}, at::kLong);
  Blobs() {
    for (int64_t i = 0; i < 90; ++i) {
      labels[i] = i % 3;
      features[i][i % 3] += 1.5;
    }
    features.select(1, 1).mul_(50).add_(7);
    features.select(1, 3).fill_(2);
  }
};

at::Tensor standardised(const at::Tensor& features) {
  const at::Tensor centred = features - features.mean(0);
  return (centred / ((centred.square().sum(0) / 89).sqrt() + 1e-4)).to(at::kDouble);
}

// The objective of logits of 90 rows whose standardised weights are `weight`, written out.
double objective(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& weight) {
  const at::Tensor of_labels = logits.gather(1, labels.unsqueeze(1)).squeeze(1);
  return (logits.exp().sum(1).log() - of_labels).mean().item<double>() +
         1e-3 * weight.square().sum().item<double>();
}

// The objective is convex; plain gradient descent, from its closed gradient, finds the minimum.
TEST(Probe, IsNearlyTheMinimumOfLogisticRegression) {
  const Blobs blobs;
  const at::Tensor x = standardised(blobs.features);
  const at::Tensor wanted = at::one_hot(blobs.labels, 3).to(at::kDouble);
  at::Tensor weight = at::zeros({3, 4}, at::kDouble);
  at::Tensor bias = at::zeros({3}, at::kDouble);
  for (int step = 0; step < 4000; ++step) {
    const at::Tensor residual = (at::linear(x, weight, bias).softmax(1) - wanted) / 90;
    weight = weight - 0.5 * (at::mm(residual.t(), x) + 2e-3 * weight);
    bias = bias - 0.5 * residual.sum(0);
  }
  const double minimum = objective(at::linear(x, weight, bias), blobs.labels, weight);

  const AffineHead head = fit_probe(blobs.features, blobs.labels, 3);
  const at::Tensor logits = at::linear(blobs.features, head.weight, head.bias).to(at::kDouble);
  const at::Tensor deviation =
      (blobs.features - blobs.features.mean(0)).square().sum(0).div(89).sqrt() + 1e-4;
  const double reached = objective(logits, blobs.labels, head.weight * deviation);
  EXPECT_LT(minimum, 0.9 * std::log(3.0));
  EXPECT_GT(reached, minimum - 1e-6);
  EXPECT_LT(reached, minimum + 0.005 * (std::log(3.0) - minimum));
}

TEST(Probe, DoesNotDependOnTheScaleOfFeatures) {
  const Blobs blobs;
  const AffineHead head = fit_probe(blobs.features, blobs.labels, 3);
  const AffineHead of_scaled = fit_probe(blobs.features * 10 - 3, blobs.labels, 3);
  const at::Tensor logits = at::linear(blobs.features, head.weight, head.bias);
  const at::Tensor same = at::linear(blobs.features * 10 - 3, of_scaled.weight, of_scaled.bias);
  EXPECT_LT((logits - same).abs().max().item<double>(), 0.02);
}

}  // namespace
}  // namespace fusegrid
