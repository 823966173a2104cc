// What holds for AdaMerging of either granularity.
#pragma once

#include <cmath>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/peak_memory.h"
#include "support/table_model.h"
#include "support/wide_zoo.h"

namespace fusegrid {

// The original's backbone fc2(relu(fc1(x))), its heads and its batches, in the order in which the stream of
// the method draws them: 5 steps of 4 images are one epoch of 20.
inline TestZoo golden_backbone(const Golden& golden) {
  std::vector<at::Tensor> rows;
  for (int64_t task = 0; task < 3; ++task) {
    rows.push_back(golden.tensors.at("batches/task" + std::to_string(task)).reshape({20, 6}));
  }
  TestZoo zoo = table_zoo({concatenate(rows).to(at::kFloat),
                           {},
                           [](const Weights& weights, const at::Tensor& x, const Pass& pass) {
                             return lifted(two_layers(weights, x, pass));
                           }});
  zoo.base = as_float(golden.under("base"));
  for (int64_t i = 0; i < 3; ++i) {
    const std::string task = "task" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back(as_float(golden.under("expert" + std::to_string(i))));
    zoo.network->readouts[task] = lifted_readout(golden.tensors.at("head/" + task));
    const auto order = permutation(derive_key(zoo.seed, "adamerging/" + task), 0, 20);
    std::vector<int64_t> placed(20);
    for (int64_t drawn = 0; drawn < 20; ++drawn) {
      placed[static_cast<size_t>(order[static_cast<size_t>(drawn)])] = 20 * i + drawn;
    }
    zoo.data.set(task, "test", images_of_rows(placed));
  }
  return zoo;
}

// Softmax takes no notice of the biases of keys: their gradient is rounding alone, and so is where steps take them.
inline Weights without_key_biases(Weights weights) {
  std::erase_if(weights, [](const auto& entry) { return entry.first.ends_with("k_proj.bias"); });
  return weights;
}

inline std::map<std::string, double> coefficients(const Merged& merged) {
  std::map<std::string, double> values;
  for (const std::string& part : split(merged.facts.at("coefficients"), ' ')) {
    const auto equals = part.find('=');
    values[part.substr(0, equals)] = parse_double(part.substr(equals + 1), "coefficient");
  }
  return values;
}

// Mean entropy over all of a task's test images, summed over tasks.
inline double entropy(const TestZoo& zoo, const Weights& weights) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const at::Tensor log_p = at::log_softmax(zoo.logits_of(weights, task).to(at::kDouble), 1);
    sum -= (log_p.exp() * log_p).sum(1).mean().item<double>();
  }
  return sum;
}

inline void expect_without_steps_is_task_arithmetic(const std::string& method) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse(method + "{steps=0,init=0.25}").weights,
               zoo.fuse("task_arithmetic{scale=0.25}").weights, 2e-7);
}

inline void expect_lowers_the_entropy(const std::string& method) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const double before = entropy(zoo, zoo.fuse(method + "{steps=0}").weights);
  const double after = entropy(zoo, zoo.fuse(method + "{steps=20,batch=20,lr=0.01}").weights);
  EXPECT_LT(after, before - 0.001);
}

// Outside [0, 1] the clamp passes no gradient: such a coefficient stays for ever, and counts as its bound.
inline void expect_clamped_coefficients_outside_the_interval_never_move(const std::string& method) {
  const TestZoo zoo = random_zoo(2);
  const Merged merged = zoo.fuse(method + "{clamp=true,init=1.5,steps=3,batch=4,lr=0.1}");
  for (const auto& [task, value] : coefficients(merged)) {
    EXPECT_EQ(value, 1.5) << task;
  }
  expect_close(merged.weights, zoo.fuse("task_arithmetic{scale=1}").weights, 2e-7);
  for (const auto& [task, value] :
       coefficients(zoo.fuse(method + "{clamp=false,init=1.5,steps=3,batch=4,lr=0.1}"))) {
    EXPECT_NE(value, 1.5) << task;
  }
}

inline void expect_of_experts_that_did_not_move_is_the_base(const std::string& method) {
  TestZoo zoo = random_zoo(2);
  zoo.experts = {zoo.base, zoo.base};
  const Merged merged = zoo.fuse(method + "{steps=3,batch=4,init=0.3}");
  EXPECT_EQ(digest(merged.weights), digest(zoo.base));
  for (const auto& [task, value] : coefficients(merged)) {
    EXPECT_NEAR(value, 0.3, 1e-7) << task;
  }
}

// The merged model, its gradients, and the task vectors of one tensor.
inline void expect_holds_no_second_copy_of_the_experts(const std::string& method) {
  const TestZoo zoo = wide_zoo(6);
  const int64_t peak = peak_tensor_bytes([&] { zoo.fuse(method + "{steps=3,batch=4}"); });
  EXPECT_GT(peak, kWideModelBytes);
  EXPECT_LT(peak, 5 * kWideModelBytes);
}

inline void expect_sees_other_batches_with_another_seed(const std::string& method) {
  TestZoo zoo = random_zoo(2);
  const std::string once = digest(zoo.fuse(method + "{steps=3,batch=4,lr=0.01}").weights);
  zoo.seed = 1;
  EXPECT_NE(digest(zoo.fuse(method + "{steps=3,batch=4,lr=0.01}").weights), once);
}

}  // namespace fusegrid
