#include "fusion/whole_model/concrete_mask.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid {
namespace {

const std::string kTensor = "vision_model.encoder.layers.1.mlp.fc1.weight";

// Of random_zoo(1), with the tensors' first elements among the model's.
int64_t begin_of(const FusionInput& in, const std::string& tensor) {
  int64_t begin = 0;
  for (const TensorInfo& info : in.tensors()) {
    if (info.name == tensor) {
      return begin;
    }
    begin += info.numel();
  }
  throw std::runtime_error("no tensor " + tensor);
}

void with_mask(const ConcreteOptions& options,
               const std::function<void(const FusionInput&, ConcreteMask&)>& visit) {
  const TestZoo zoo = random_zoo(1);
  MethodCard card;
  card.name = "a_test";
  card.grain = Grain::kWholeModel;
  card.needs = {Need::kPretrained};
  zoo.with_input(card, [&](const FusionInput& in) {
    ConcreteMask mask(in, {kTensor}, options);
    visit(in, mask);
  });
}

// In float64, from the same uniform numbers.
at::Tensor by_formula(const FusionInput& in, const at::Tensor& logits, int64_t draw, double temperature) {
  const at::Tensor u = uniform(derive_key(in.seed(), "concrete"), static_cast<uint64_t>(draw),
                               begin_of(in, kTensor), logits.numel())
                           .view(logits.sizes())
                           .to(at::kDouble);
  const at::Tensor m = ((logits + (u.log() - (1 - u).log())) / temperature).sigmoid();
  return m / m.mean();
}

TEST(ConcreteMask, is_drawn_as_the_relaxation_says) {
  ConcreteOptions options;
  options.initial_logit = 0.7;
  options.temperature = 0.4;
  with_mask(options, [&](const FusionInput& in, ConcreteMask& mask) {
    const at::Tensor logits = at::full(in.base().at(kTensor).sizes(), 0.7, at::kDouble);
    for (const int64_t draw : {0, 3}) {
      mask.draw(draw);
      expect_close(mask.of(0), by_formula(in, logits, draw, 0.4), 2e-5);
    }
    EXPECT_NEAR(mask.of(0).mean().item<double>(), 1, 1e-6);
  });
}

// The closed form against autograd in float64, and that against finite differences.
TEST(ConcreteMask, passes_gradients_to_its_logits) {
  with_mask({}, [&](const FusionInput& in, ConcreteMask& mask) {
    mask.draw(1);
    at::Tensor logits = at::full(in.base().at(kTensor).sizes(), 0.0, at::kDouble);
    const at::Tensor probe = normal(5, 0, 0, logits.numel()).view(logits.sizes()).to(at::kDouble);
    const auto value = [&](const at::Tensor& at_logits) {
      return (by_formula(in, at_logits, 1, 0.5) * probe).sum();
    };
    at::Tensor exact;
    {
      const at::AutoGradMode with_gradients(true);
      at::Tensor leaf = logits.clone().requires_grad_(true);
      value(leaf).backward();
      exact = leaf.grad();
    }
    expect_close(mask.logit_gradient(0, probe.to(at::kFloat)), exact, 2e-5);
    for (int64_t i = 0; i < 5; ++i) {
      at::Tensor above = logits.clone();
      above[i][i] += 1e-5;
      at::Tensor below = logits.clone();
      below[i][i] -= 1e-5;
      const double slope = (value(above) - value(below)).item<double>() / 2e-5;
      EXPECT_NEAR(slope, exact[i][i].item<double>(), 1e-6);
    }
  });
}

TEST(ConcreteMask, steps_against_the_gradient) {
  ConcreteOptions options;
  options.lr = 0.25;
  with_mask(options, [&](const FusionInput&, ConcreteMask& mask) {
    mask.draw(0);
    const at::Tensor probe = normal(6, 0, 0, 128).view({16, 8});
    const at::Tensor gradient = mask.logit_gradient(0, probe);
    mask.step(0, probe);
    mask.settle("mean");
    const at::Tensor p = (gradient / (gradient.abs() + 1e-8) * -0.25).sigmoid();  // Adam's first step
    expect_close(mask.of(0), p / p.mean(), 1e-5);
  });
}

TEST(ConcreteMask, settles_as_a_fresh_draw_as_zeros_and_ones_or_as_their_mean) {
  ConcreteOptions options;
  options.initial_logit = 1;
  with_mask(options, [&](const FusionInput& in, ConcreteMask& mask) {
    mask.draw(4);
    mask.settle("continuous");
    const at::Tensor logits = at::full(in.base().at(kTensor).sizes(), 1.0, at::kDouble);
    expect_close(mask.of(0), by_formula(in, logits, 5, 0.5), 2e-5);
    mask.settle("discrete");
    const at::Tensor kept = mask.of(0).gt(0).to(at::kDouble);
    EXPECT_NEAR(kept.mean().item<double>(), 0.731, 0.12);  // 128 draws of sigmoid(1)
    expect_close(mask.of(0), kept / kept.mean(), 1e-6);
    mask.settle("mean");
    expect_close(mask.of(0), at::full({16, 8}, 1.0), 1e-6);
  });
}

}  // namespace
}  // namespace fusegrid
