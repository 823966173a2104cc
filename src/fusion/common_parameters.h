#pragma once

#include <vector>

#include "fusion/method.h"

namespace fusegrid {

// The parameters that every method takes besides its own. Their defaults change nothing, and do not
// stand in canonical texts.
//   head                  of models that hold a head of classes
//     merged              it is merged with the rest
//     of_classes_seen     the row of a class is the mean of those of the experts that have seen it
//   statistics            what becomes of the statistics of activations in the models that it makes
//     averaged            running statistics of batch norm are the experts' mean
//     re_estimated        they are made anew on unlabelled training inputs of all tasks, four batches of a quarter each
//     re_estimated_with_heads   and those of the heads that have any, decoders of maps, on the inputs of their task
//     repaired            of nets without norms: those of each layer are those of the merged models on average
//   statistics_examples   on so many, dealt evenly over the tasks
// with_common_parameters(): see method.h.
std::vector<ParamInfo> common_parameters();

}  // namespace fusegrid
