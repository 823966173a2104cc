#include "fusion/alignment/sinkhorn.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>

#include "core/errors.h"

namespace fusegrid {

at::Tensor sinkhorn(const at::Tensor& scores, double temperature, int64_t iterations, double tolerance) {
  FUSEGRID_ASSERT(temperature > 0 && iterations > 0, "temperature and iterations of Sinkhorn");
  at::Tensor log_p = scores / temperature;
  const double log_of_columns =
      std::log(static_cast<double>(scores.size(0)) / static_cast<double>(scores.size(1)));
  for (int64_t i = 0; i < iterations; ++i) {
    const at::Tensor rows = at::logsumexp(log_p, {1}, /*keepdim=*/true);
    if (i > 0 && tolerance > 0 && (rows.exp() - 1).abs().max().item<double>() <= tolerance) {
      break;
    }
    log_p = log_p - rows;
    log_p = log_p - (at::logsumexp(log_p, {0}, /*keepdim=*/true) - log_of_columns);
  }
  return at::exp(log_p);
}

}  // namespace fusegrid
