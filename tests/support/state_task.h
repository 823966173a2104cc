// A task of the kind sample: pictures of 4 x 4 pixels in two shades, and a judge that sees how bright they are.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/philox.h"
#include "models/inputs.h"
#include "store/task_pack.h"

namespace fusegrid {

// A network with one channel, the sum over 3 x 3 pixels where that is above 0, whose mean over the picture, b, is read
// by outputs slope * b + bias: three classes, dark, middle and bright, and two styles, which are dark and bright.
inline PackJudge shade_judge() {
  return {.config = {{"model_type", "cnn"},
                     {"image_size", 4},
                     {"num_channels", 1},
                     {"hidden_sizes", {1}},
                     {"pool_last", false},
                     {"num_labels", 5}},
          .tensors = {{"layers.0.weight", at::full({1, 1, 3, 3}, 1.0 / 9)},
                      {"layers.0.bias", at::ones({1})},
                      {"classifier.weight", at::tensor({0.0F, 2.0F, 4.0F, 0.0F, 2.0F}).view({5, 1})},
                      {"classifier.bias", at::tensor({0.0F, -1.4F, -4.2F, 0.0F, -2.0F})}}};
}

inline TaskInfo state_task(const nlohmann::json& attributes = nlohmann::json::object()) {
  TaskInfo task;
  task.name = "shades";
  task.kind = "sample";
  task.class_names = {"dark", "middle", "bright"};
  task.style_names = {"low", "high"};
  task.image_height = task.image_width = 4;
  task.image_channels = 1;
  task.judge = std::make_shared<const PackJudge>(shade_judge());
  task.attributes = attributes;
  return task;
}

// Random noise at time 0, asked for classes and styles by turns; behind these stands the number of the example, which
// no kind reads.
inline Examples numbered_states(int64_t count) {
  Examples examples;
  examples.inputs.state = normal(7, 0, 0, count * 16).view({count, 1, 4, 4});
  examples.inputs.time = at::zeros({count});
  const at::Tensor numbers = at::arange(count, at::kLong);
  examples.inputs.condition = at::stack({numbers % 3, 3 + numbers % 2, numbers}, 1);
  examples.pictures = (normal(8, 0, 0, count * 16) / 2).clamp(-1, 1).view({count, 1, 4, 4});
  examples.velocities = examples.pictures - examples.inputs.state;
  return examples;
}

}  // namespace fusegrid
