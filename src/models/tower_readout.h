// Readouts of models with a tower of images and one of texts, whose features are rows of one space.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "models/readout.h"

namespace fusegrid {

// Texts that stand for classes, each class by one or more.
struct Prompts {
  at::Tensor tokens;   // int64 [classes, prompts, width], filled up at the end
  at::Tensor lengths;  // int64 [classes, prompts]: how many of a row count
};

// A zero-shot head: exp(logit_scale) * unit(features) rows^T, where row c is the unit of the mean of the unit features
// that the model itself makes of the prompts of class c. The scale is the model's as well. So it has no weights besides
// the tokens, and whatever is done to the tower of texts is done to it.
//
// Rows are made once for a model and kept while its tensors live and do not change; where gradients are asked for they
// are made in each call, and gradients flow through them.
//   architecture  reads tokens; its weights have a scalar "logit_scale"
// Without a model (features that several models share) it throws ConfigError: whose rows would it be?
std::shared_ptr<const Readout> prompt_readout(std::shared_ptr<const Architecture> architecture,
                                              Prompts prompts);

// Of pairs: features [n, 2, size] -> the same rows of unit length, the first of each pair, which is of the image, times
// exp(logit_scale) of the model; times 1 without a model. So a product of a first and a second row is a logit. Two
// outputs: the row of an image and that of a text.
std::shared_ptr<const Readout> pair_readout(int64_t features);

}  // namespace fusegrid
