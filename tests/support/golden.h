#pragma once

#include <map>
#include <string>

#include "core/weights.h"

namespace fusegrid {

// One file of tests/golden/methods (its README says what made it).
struct Golden {
  Weights tensors;
  std::map<std::string, std::string> metadata;

  // The tensors below "<prefix>/", without it; "" gives those without any prefix.
  Weights under(const std::string& prefix) const;
};
Golden read_golden(const std::string& name);  // without ".safetensors"

Weights as_float(const Weights& weights);

// Fails where names or shapes differ or any entry is further away than `tolerance`. The largest deviation of
// a test is in its property "largest_deviation".
void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance);
void expect_close(const Weights& actual, const Weights& expected, double tolerance);
// The same of those tensors of `actual` that `expected` has, of which there is at least one.
void expect_includes(const Weights& actual, const Weights& expected, double tolerance);

}  // namespace fusegrid
