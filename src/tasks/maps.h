// What kinds of task have in common whose answers are maps: a value, or several, for each pixel of an image.
#pragma once

#include <functional>
#include <string>

#include <ATen/core/Tensor.h>

#include "tasks/kind.h"

namespace fusegrid {

// The output of a head as a map. DataError where it has not so many values at each pixel of the maps [n, ..., height,
// width] that are wanted. kind: for the message.
void check_map(const at::Tensor& output, const at::Tensor& wanted, int64_t values, const std::string& kind);

// The mean over an example's pixels of what they cost, of those that count: [n]. 0 where none does.
//   of_pixels  float [n, height, width], finite
//   counting   bool [n, height, width]
at::Tensor mean_over_pixels(const at::Tensor& of_pixels, const at::Tensor& counting);
// The sums of the same, in float64.
at::Tensor sum_over_pixels(const at::Tensor& of_pixels, const at::Tensor& counting);

// Asks for all examples. What an example's map gives is `measure` of outputs [n, height, width, values] and of the maps
// wanted, on one device: numbers [n, width], which are float32 when they are recorded.
struct MapRows {
  at::Tensor rows;     // float [examples, width], on the CPU
  bool finite = true;  // whether all outputs were
};
MapRows rows_of_maps(
    const Examples& examples, const Asking& asking,
    const std::function<at::Tensor(const at::Tensor& output, const at::Tensor& wanted)>& measure);

// Adds a metric of columns [begin, begin + width) of the rows, and these numbers.
void add_map_metric(Answers& answers, const std::string& metric, const MapRows& rows, int64_t begin,
                    int64_t width);

}  // namespace fusegrid
