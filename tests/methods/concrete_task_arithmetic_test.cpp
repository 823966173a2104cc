#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/whole_model/adaptation.h"
#include "methods/adamerging_checks.h"

namespace fusegrid::concrete_task_arithmetic_test {
namespace {

// A mask whose entries are all alike is none.
TEST(ConcreteTaskArithmetic, without_steps_and_with_the_mean_mask_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("concrete_task_arithmetic{steps=0,scale=0.2,mask=mean}").weights,
               zoo.fuse("task_arithmetic{scale=0.2}").weights, 5e-7);
}

// The whole trajectory again, by autograd through masks, merges and passes, from the same numbers and batches.
TEST(ConcreteTaskArithmetic, trains_as_its_formula_does_by_autograd) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged merged = zoo.fuse("concrete_task_arithmetic{steps=3,batch=4,lr=0.1,mask=mean}");
  MethodCard card;
  card.name = "a_test";
  card.grain = Grain::kWholeModel;
  card.needs = {Need::kPretrained, Need::kTestInputs};
  zoo.with_input(card, [&](const FusionInput& in) {
    AdaptationStream stream(in, 4, "concrete");
    Weights logits, first, second;
    for (const TensorInfo& info : in.tensors()) {
      logits[info.name] = at::full(info.shape, 0.0, at::kFloat);
      first[info.name] = second[info.name] = at::zeros_like(logits[info.name]);
    }
    for (int64_t step = 0; step < 3; ++step) {
      const at::AutoGradMode with_gradients(true);
      Weights theta = in.base();
      int64_t begin = 0;
      for (const TensorInfo& info : in.tensors()) {
        at::Tensor& leaf = logits[info.name];
        leaf = leaf.detach().requires_grad_(true);
        const at::Tensor u =
            uniform(derive_key(zoo.seed, "concrete"), step, begin, info.numel()).view(info.shape);
        const at::Tensor m = ((leaf + (u.log() - (1 - u).log())) / 0.5).sigmoid();
        const at::Tensor tau = (in.expert(0).at(info.name) - in.base().at(info.name)) +
                               (in.expert(1).at(info.name) - in.base().at(info.name));
        theta[info.name] = in.base().at(info.name) + m / m.mean() * tau * 0.3;
        begin += info.numel();
      }
      const AdaptationStream::Step next = stream.next();
      entropy_loss(in, theta, next.by_task, in.network().features(theta, next.inputs)).backward();
      const at::NoGradGuard no_grad;
      for (auto& [name, leaf] : logits) {
        const at::Tensor g = leaf.grad();
        first[name] = first[name] * 0.9 + g * 0.1;
        second[name] = second[name] * 0.999 + g.square() * 0.001;
        const double t = static_cast<double>(step + 1);
        leaf = leaf.detach() - first[name] / (1 - std::pow(0.9, t)) * 0.1 /
                                   ((second[name] / (1 - std::pow(0.999, t))).sqrt() + 1e-8);
      }
    }
    for (const TensorInfo& info : in.tensors()) {
      if (info.name.ends_with("k_proj.bias")) {
        continue;  // softmax takes no notice of it, so its gradient is rounding alone
      }
      const at::Tensor p = logits[info.name].sigmoid();
      const at::Tensor tau = (in.expert(0).at(info.name) - in.base().at(info.name)) +
                             (in.expert(1).at(info.name) - in.base().at(info.name));
      // a mask's entry whose gradient is near 0 may go either way by rounding
      const at::Tensor apart =
          (merged.weights.at(info.name) - (in.base().at(info.name) + p / p.mean() * tau * 0.3)).abs();
      EXPECT_LT(apart.mean().item<double>(), 1e-4) << info.name;
    }
  });
}

TEST(ConcreteTaskArithmetic, lowers_the_entropy) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const double before = entropy(zoo, zoo.fuse("concrete_task_arithmetic{steps=0,mask=mean}").weights);
  const double after =
      entropy(zoo, zoo.fuse("concrete_task_arithmetic{steps=30,batch=20,lr=0.1,mask=mean}").weights);
  EXPECT_LT(after, before - 0.01);
}

TEST(ConcreteTaskArithmetic, draws_other_masks_with_another_seed) {
  TestZoo zoo = random_zoo(2);
  const std::string once = digest(zoo.fuse("concrete_task_arithmetic{steps=0}").weights);
  EXPECT_EQ(digest(zoo.fuse("concrete_task_arithmetic{steps=0}").weights), once);
  zoo.seed = 1;
  EXPECT_NE(digest(zoo.fuse("concrete_task_arithmetic{steps=0}").weights), once);
}

}  // namespace
}  // namespace fusegrid::concrete_task_arithmetic_test
