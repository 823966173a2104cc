#pragma once

#include <string>
#include <vector>

#include "core/weights.h"

namespace fusegrid {

// In what forward and backward passes are computed: evaluation, statistics, adaptation. Merging is always float32, or
// float64 where equations are solved.
enum class Precision {
  kFp32,  // float32 everywhere, also where a library would round products by itself
  kTf32,  // float32 whose products may be rounded to 10 bits of mantissa (GPUs; on CPUs the same as fp32)
  kBf16,  // weights are rounded to bfloat16 once; norms, softmax, readouts and losses are computed in float32
};

std::string to_string(Precision precision);  // "fp32", "tf32", "bf16"
const std::vector<std::string>& precision_names();
Precision parse_precision(const std::string& name);  // one of precision_names()

// The products of float32 matrices and convolutions of this process are as `precision` says, until the scope ends;
// outside of all scopes they are fp32. For one thread: LibTorch's switches are global.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;
};

// Whether the floating-point tensors are in the dtype that `precision` holds weights in, so that there is nothing to
// round.
bool are_held_in(const Weights& weights, Precision precision);
// The floating-point tensors in the dtype that `precision` holds weights in; the same tensors where they are in it.
// Gradients flow through.
Weights rounded(const Weights& weights, Precision precision);

// Switches float32 products to fp32, which is not LibTorch's default for convolutions on GPUs. Once per process.
void use_fp32();

}  // namespace fusegrid
