// Tensors of a checkpoint that nobody learns: a merge copies them from its reference, and models may lack them.
#pragma once

#include "core/weights.h"

namespace fusegrid {

// Whether a tensor is a buffer: whole numbers and truth values (positions, counters, masks), and the floating tensors
// that code computes and some versions of libraries store (rotary frequencies, causal masks, tables of positions), by
// their names.
bool is_buffer(const TensorInfo& info);

// Whether it is a buffer by its name, whatever its dtype.
bool is_computed(const TensorInfo& info);

// Whether methods see it: it is learnt.
inline bool is_merged(const TensorInfo& info) {
  return !is_buffer(info);
}

}  // namespace fusegrid
