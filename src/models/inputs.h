#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// What n examples feed into one forward pass. What a model does not read stays undefined. Tensors are shared, not
// copied, by rows() and to() where that is possible.
struct Inputs {
  // [n, channels, height, width]: uint8 as a pack stores them; Network::ready() makes normalised floats of them.
  at::Tensor images;
  at::Tensor tokens;   // int64 [n, width]: ids, filled up at the end
  at::Tensor lengths;  // int64 [n]: how many of a row count; the rest fills it up

  int64_t size() const;
  Inputs rows(int64_t begin, int64_t count) const;
  // Rows of tokens come out as wide as the longest of them asks for (see token_width()). indices: int64, any device.
  Inputs select(const at::Tensor& indices) const;
  Inputs to(at::Device device) const;
  // bool [n, width]: which positions count; undefined where all do, because there are no tokens.
  at::Tensor counting() const;
};

// bool [n, width]: the first lengths[i] positions of row i. lengths: int64 [n]; on its device.
at::Tensor counting_positions(const at::Tensor& lengths, int64_t width);

// The width that a row of `length` tokens is filled up to: a function of the row alone, so that the bits of an answer
// do not depend on what else is in its batch.
int64_t token_width(int64_t length);

// Ragged rows as Inputs. ids: integer [total]; offsets: int64 [n + 1], row i is ids[offsets[i] : offsets[i + 1]];
// pad: the id that fills rows up.
Inputs token_inputs(const at::Tensor& ids, const at::Tensor& offsets, int64_t pad);

// One after the other. All are images of one size, or all are tokens, which come out as wide as the widest.
Inputs concatenate_inputs(const std::vector<Inputs>& parts);

// Visits all rows in batches of at most `batch`; of tokens, rows of one width share batches. places: int64 [batch] on
// the CPU, where the rows of `part` stand in `inputs`.
void for_each_batch(const Inputs& inputs, int64_t batch,
                    const std::function<void(const Inputs& part, const at::Tensor& places)>& visit);

// Examples with what is to be answered: undefined where a task has none, or where the caller may not see it.
struct Examples {
  Inputs inputs;
  at::Tensor labels = {};  // int64 [n]: classes
  at::Tensor values = {};  // float [n]: numbers

  Examples first(int64_t count) const;  // -1: all; never more than there are
  Examples to(at::Device device) const;
};

}  // namespace fusegrid
