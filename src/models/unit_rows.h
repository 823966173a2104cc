#pragma once

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Every row of [rows, n] divided by its length; a row of zeros stays zero instead of becoming NaN.
at::Tensor unit_rows(const at::Tensor& x);

}  // namespace fusegrid
