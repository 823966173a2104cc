#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/weights.h"
#include "models/evaluation.h"
#include "models/network.h"
#include "store/pretraining_pool.h"
#include "store/task_pack.h"
#include "zoo/batches.h"
#include "zoo/recipe.h"

namespace fusegrid {

// Training is a pure function of its arguments: on one kind of device, with one thread count, the same
// arguments give the same bits. Weights are float32 and come back on the device that was asked for.

// Called before each step: tells that training is alive.
using OnStep = std::function<void(int64_t step)>;

struct PretrainedBase {
  Weights weights;
  std::map<std::string, at::Tensor> rows;  // by task: [classes, features], unit rows of the class table
  double logit_scale = 0;                  // the learned s of exp(s), at most ln 100
};

// Pretrains a base: loss = CE(exp(s) * features * table^T) over the classes of the pool and of the tasks'
// shots; the table's rows of a task are its frozen head.
PretrainedBase pretrain(const Recipe& recipe, const std::vector<PoolSource>& pool,
                        const std::vector<LabelledTask>& tasks, uint64_t seed, at::Device device,
                        const OnStep& on_step = {});

// Fine-tunes `base` to one task under its frozen head. Trains the weight matrices of the network's linear
// layers; every other tensor stays the base's, bit for bit.
Weights fine_tune(const Recipe& recipe, const Network& network, const Weights& base, const LabelledTask& task,
                  uint64_t seed, const OnStep& on_step = {});

// The same tensors trained on all tasks together: every step takes a batch of each task and minimises the
// mean of their losses. With the recipe's defaults each task contributes as many images as to its expert.
Weights train_multitask(const Recipe& recipe, const Network& network, const Weights& base,
                        const std::vector<LabelledTask>& tasks, uint64_t seed, const OnStep& on_step = {});

// What a model answers to the examples of a split.
Answers evaluate(const Network& network, const Weights& weights, const std::string& task, const Split& split,
                 const OnStep& on_batch = {});

}  // namespace fusegrid
