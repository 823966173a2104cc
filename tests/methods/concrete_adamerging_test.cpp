#include <ATen/TensorOperators.h>

#include "fusion/whole_model/adaptation.h"
#include "methods/adamerging_checks.h"

namespace fusegrid::concrete_adamerging_test {
namespace {

// A mask whose entries are all alike is none.
TEST(ConcreteAdaMerging, without_steps_of_the_mask_and_with_its_mean_is_adamerging) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const std::string kind : {"layer_wise", "task_wise"}) {
    const Merged concrete = zoo.fuse(
        "concrete_adamerging{steps=0,adamerging_steps=4,adamerging_lr=0.01,batch=4,"
        "mask=mean,coefficients=" +
        kind + "}");
    const Merged plain = zoo.fuse(kind + "_adamerging{steps=4,lr=0.01,batch=4}");
    expect_close(concrete.weights, plain.weights, 1e-5);
    for (const auto& [task, value] : coefficients(plain)) {
      EXPECT_NEAR(coefficients(concrete).at(task), value, 1e-5);
    }
  }
}

// Without a step of the coefficients inside, and with steps that see every second batch of the stream alone.
TEST(ConcreteAdaMerging, without_a_step_inside_trains_the_mask_of_concrete_task_arithmetic) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const std::string mask = "batch=20,lr=0.1,mask=mean,steps=3";  // all inputs in each batch
  const Merged concrete = zoo.fuse("concrete_adamerging{adamerging_steps=0,base_lr=0," + mask + "}");
  const Merged arithmetic = zoo.fuse("concrete_task_arithmetic{" + mask + "}");
  for (const auto& [name, tensor] : arithmetic.weights) {
    if (tensor.is_floating_point() && !name.ends_with("k_proj.bias")) {  // whose gradient is rounding alone
      EXPECT_LT((concrete.weights.at(name) - tensor).abs().mean().item<double>(), 1e-4) << name;
    }
  }
  EXPECT_NE(digest(zoo.fuse("concrete_adamerging{adamerging_steps=0,base_lr=1," + mask + "}").weights),
            digest(concrete.weights));
}

TEST(ConcreteAdaMerging, lowers_the_entropy_in_both_parts) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const auto after = [&](const std::string& options) {
    return entropy(zoo,
                   zoo.fuse("concrete_adamerging{mask=mean,batch=20,base_lr=0.01," + options + "}").weights);
  };
  const double before = after("steps=0,adamerging_steps=0");
  const double masked = after("steps=30,lr=0.1,adamerging_steps=0");
  EXPECT_LT(masked, before - 0.01);
  EXPECT_LT(after("steps=30,lr=0.1,adamerging_steps=20,adamerging_lr=0.01"), masked - 0.001);
}

}  // namespace
}  // namespace fusegrid::concrete_adamerging_test
