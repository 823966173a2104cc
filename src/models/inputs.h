#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Which rows a layer reads, of those that an example has.
enum class Rows {
  kInput,   // of the image, or of the input's tokens: [n, width]
  kAnswer,  // of an encoder-decoder's answer: [n, answer width + 1], row j predicts the answer's token j
  kBoth,    // of a decoder: the input's tokens and right behind them the answer's, [n, width + answer width]
  // Of a model that reads images and tokens as one sequence: the rows of the image and behind them those of kBoth,
  // whichever of them an example has.
  kSequence,
};

// What n examples feed into one forward pass. What a model does not read stays undefined. Tensors are shared, not
// copied, by rows() and to() where that is possible.
struct Inputs {
  // [n, channels, height, width]: uint8 as a pack stores them; Network::ready() makes normalised floats of them.
  at::Tensor images;
  at::Tensor tokens;   // int64 [n, width]: ids, filled up at the end
  at::Tensor lengths;  // int64 [n]: how many of a row count; the rest fills it up
  // Of models that make tokens, what is answered so far: int64 [n, answer width], which may be 0, without the token
  // that a decoder reads first; filled up at the end. And how many of a row count: int64 [n].
  at::Tensor answer = {};
  at::Tensor answer_lengths = {};
  // What each example may be answered by, which models do not read: a kind of task makes answers of them. int64 [n,
  // choices, width], filled up at the end; and how many tokens of each count, 0 where an example has fewer choices than
  // others: int64 [n, choices].
  at::Tensor choices = {};
  at::Tensor choice_lengths = {};
  // Of models that move noise towards a picture: where it is, float [n, channels, height, width], in [-1, 1] at the
  // end; how far on its way, float [n], from 0 (noise) to 1; and what is asked for, int64 [n, conditions]: ids.
  at::Tensor state = {};
  at::Tensor time = {};
  at::Tensor condition = {};
  // Where models tell the texts of a pair apart, which of them a token belongs to, 0 or 1: int64 [n, width], either
  // where rows are filled up. Undefined where all are 0.
  at::Tensor types = {};
  // Of images with tokens: whether they are two inputs, a picture and a text that are compared, so that each has
  // features of its own; else they are one, and a model reads them together.
  bool pairs = false;

  int64_t size() const;
  std::vector<at::Tensor> tensors() const;  // all that are there
  Inputs rows(int64_t begin, int64_t count) const;
  // Rows of tokens and choices come out as wide as the longest of them asks for (see token_width()). indices: int64,
  // any device.
  Inputs select(const at::Tensor& indices) const;
  Inputs to(at::Device device) const;
  // bool [n, width]: which positions count; undefined where all do, because there are no tokens. Of an answer's rows
  // those count that predict one of its tokens, or the one behind it. positions: how many there are, asked for by
  // kSequence alone, since inputs do not say how many rows an image has.
  at::Tensor counting(Rows rows = Rows::kInput, int64_t positions = 0) const;
};

// bool [n, width]: the first lengths[i] positions of row i. lengths: int64 [n]; on its device.
at::Tensor counting_positions(const at::Tensor& lengths, int64_t width);

// The width that a row of `length` tokens is filled up to: a function of the row alone, so that the bits of an answer
// do not depend on what else is in its batch.
int64_t token_width(int64_t length);

// Ragged rows as Inputs. ids: integer [total]; offsets: int64 [n + 1], row i is ids[offsets[i] : offsets[i + 1]];
// pad: the id that fills rows up.
Inputs token_inputs(const at::Tensor& ids, const at::Tensor& offsets, int64_t pad);

// int64 [n, width]: 1 behind the first separator of a row, else 0. tokens: int64 [n, width].
at::Tensor types_behind(const at::Tensor& tokens, int64_t separator);

// The inputs with choices. rows: of all examples, one after the other; example i has those from offsets[i] to offsets[i
// + 1], int64 [n + 1]; pad: the id that fills them up.
Inputs with_choices(Inputs inputs, const Inputs& rows, const at::Tensor& offsets, int64_t pad);

// One after the other. All are images of one size, or all are tokens, which come out as wide as the widest; so do
// answers, which all have or none. Without choices, which no pass reads.
Inputs concatenate_inputs(const std::vector<Inputs>& parts);

// Visits all rows in batches of at most `batch`; of tokens, rows of one width share batches, and of choices those whose
// longest choices have one width. places: int64 [batch] on the CPU, where the rows of `part` stand in `inputs`.
void for_each_batch(const Inputs& inputs, int64_t batch,
                    const std::function<void(const Inputs& part, const at::Tensor& places)>& visit);

// Examples with what is to be answered: undefined where a task has none, or where the caller may not see it.
struct Examples {
  Inputs inputs;
  at::Tensor labels = {};  // int64 [n]: classes
  at::Tensor values = {};  // float [n]: numbers
  // Tokens, the one that ends an answer included: int64 [n, width], filled up; and how many of a row count, int64 [n].
  at::Tensor wanted = {};
  at::Tensor wanted_lengths = {};
  // Of each pixel: classes, int32 [n, height, width]; or depths, float [n, height, width]; or normals, float [n, 3,
  // height, width]. NaN where nothing is known.
  at::Tensor maps = {};
  // Of tasks whose inputs are states: the real pictures, float [n, channels, height, width] in [-1, 1], and the
  // velocity that leads from the noise of the state to them, of the same shape.
  at::Tensor pictures = {};
  at::Tensor velocities = {};

  Examples first(int64_t count) const;  // -1: all; never more than there are
  // Those whose inputs for_each_batch() shows as `part`. places: as it says them; any device.
  Examples at(const at::Tensor& places, Inputs part) const;
  Examples to(at::Device device) const;
};

}  // namespace fusegrid
