// Of a unified vector the part in which one vector's own signs are its: what EMR stores as a mask per task.
#pragma once

#include <vector>

#include "fusion/loops/slice_vector.h"

namespace fusegrid {

// Of each vector: the entries of `unified` (in the vectors' shape) whose sign its own entry has, else 0.
std::vector<at::Tensor> agreeing_parts(const std::vector<SliceVector>& vectors, const at::Tensor& unified);
// base + factor times agreeing part, for each vector; in `results` (Slice::results) where there are some and rules fit.
std::vector<at::Tensor> add_agreeing_parts(const at::Tensor& base, const std::vector<SliceVector>& vectors,
                                           const at::Tensor& unified, const std::vector<double>& factors,
                                           const std::vector<at::Tensor>& results = {});

// Sums of magnitudes of a vector and of its agreeing part.
struct Magnitudes {
  double own = 0;
  double agreeing = 0;
};
std::vector<Magnitudes> agreeing_magnitudes(const std::vector<SliceVector>& vectors,
                                            const at::Tensor& unified);

}  // namespace fusegrid
