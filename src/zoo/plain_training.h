// Networks for images that are trained from nothing, with the heads that they hold: what recipes of independent models
// share. Figures behind the defaults: docs/design/independent_zoos.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/params.h"
#include "zoo/recipe.h"

namespace fusegrid {

// A net and how it is trained.
struct PlainTraining {
  std::string net = "mlp";
  int64_t width = 64;
  int64_t image_size = 28;
  int64_t batch = 64;
  int64_t max_shift = 1;
  double weight_decay = 5e-3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("net", net, Choices{"mlp", "vgg", "resnet20", "vit"}, "the architecture");
    v.param("width", width, Range{1, 8192},
            "units of each of three layers of an mlp, channels of a vit of two blocks, else channels of the "
            "first "
            "stage, which doubles twice");
    v.param("image_size", image_size, Range{4, 512}, "pixels of an image's side");
    v.param("batch", batch, Range{1, 65536}, "images of a step");
    v.param("max_shift", max_shift, Range{0, 16}, "pixels by which a batch is shifted at most, each way");
    v.param("weight_decay", weight_decay, Range{0, 1}, "of matrices and kernels, a part of their gradients");
  }
};

// "vgg16" -> net and width. FUSEGRID_ASSERT where it is none: names of scales are.
PlainTraining plain_training_of(const std::string& scale);

// ConfigError where tasks are not of classified images, or not of as many classes each.
void check_plain_pack(const std::string& recipe, const TaskPack& pack, const std::vector<std::string>& tasks);

// Whether a training example of this class, of so many, is looked at.
using ClassFilter = std::function<bool(int64_t label, int64_t classes)>;

// The model as one of the same net that is `width` wide: the same function, whose other units are zero. ConfigError
// where the net has no such (a norm over the units of a vit counts them), or where the model is the wider one.
MadeModel among_more_units(const PlainTraining& options, MadeModel model, int64_t width);

// Trains a model on the tasks of `in` together for so many steps, whose learning rates are told: by gradient descent
// with momentum, a vit by AdamW. `seed` decides first values and batches, which are the same whatever number of steps:
// a longer run goes on from a shorter one. filter: all classes, where there is none; the head has all of them anyway.
MadeModel train_plainly(const PlainTraining& options, const ModelInput& in, uint64_t seed, int64_t steps,
                        const std::function<double(int64_t step)>& rate, const ClassFilter& filter = {});

// What is the same of all recipes of such networks.
RecipeCard plain_card(const std::string& name, const std::string& doc, std::vector<RecipeScale> scales);
InputFormat plain_input(const PlainTraining& options);

// A rough estimate of a model's seconds on one CPU core.
double plain_seconds(const PlainTraining& options, int64_t steps);

}  // namespace fusegrid
