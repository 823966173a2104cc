// Making a zoo by its recipe: which models there are to train, how one is made, and the description of the result.
// `fusegrid zoo build` runs the items as two campaigns, bases first: an item of the second reads its base.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/result.h"
#include "zoo/plan.h"
#include "zoo/training.h"
#include "zoo/zoo.h"

namespace fusegrid {

// Puts bases into the zoo where it has none: the plan's published one, or those that come with the program
// (data_folder()/zoo/<recipe>-<scale>/seed-<seed>) if the plan's overrides concern experts and the multi-task model
// only.
// Returns the seeds whose base is still missing. ConfigError where the scale wants a published base and the plan has
// none or the zoo another one.
std::vector<int64_t> place_bases(const ZooPlan& plan, const std::vector<int64_t>& seeds);

// Seconds on one CPU core, roughly.
double estimated_seconds(const ZooPlan& plan, const ZooItem& item);

// ConfigError where the pack, the pool of bases that are to be trained, or the base of a seed do not fit the plan's
// recipe and each other. Reads no examples.
void check_tasks(const ZooPlan& plan);
void check_pool(const ZooPlan& plan);
void check_base(const ZooPlan& plan, int64_t seed);

// ConfigError where making `to_train` by this plan would replace models that a finished zoo or later models rest on, or
// put models of another recipe beside those that are there. `recorded`: names of the items with a valid result.
void check_existing_models(const ZooPlan& plan, const std::vector<int64_t>& seeds,
                           const std::vector<ZooItem>& to_train, const std::set<std::string>& recorded);

// Trains one item and writes its folder: config.json and model.safetensors, or adapter_config.json and
// adapter_model.safetensors; provenance.json, what its kind of model has beside them, and the heads that were made with
// it. Whatever an earlier attempt left is replaced. The result has the
// metrics of the tasks' kinds on val and test ("accuracy"; of a model of several tasks also "accuracy/<task>", and
// "accuracy" is their mean; of tasks that it is only evaluated on "accuracy/<task>" alone), those of its training, and
// the fact weights_sha256.
Result make_item(const ZooPlan& plan, const ZooItem& item, at::Device device, const OnStep& on_step = {});

// Writes zoo.json for the seeds, whose models are all there, and before it the heads of those whose experts brought
// their own. `results` of their items give digests and scores; a base without result (placed) is hashed. A multi-task
// model that the plan leaves out belongs to the zoo where it has a result. ConfigError naming an item that has no
// valid result.
Zoo finish(const ZooPlan& plan, const std::vector<int64_t>& seeds, const std::vector<Result>& results);

}  // namespace fusegrid
