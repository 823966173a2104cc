#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/registry.h"
#include "models/inputs.h"
#include "store/tokens.h"
#include "tasks/token_words.h"

namespace fusegrid {

// An evaluation condition: what is done to the inputs of a split before a model sees them, images or rows of tokens.
// Applied on the fly; the random numbers of an example depend on (shift, severity, task, index of the example in its
// split) alone: every method and every seed sees the same inputs. One .cpp of src/tasks/shifts each, registering
// itself, with one of the two functions.
struct Shift {
  std::string name;  // "gaussian_noise"
  std::string paper;
  std::string doc;
  // images: float [batch, 3, size, size] on the CPU, in [0, 1]; severity 1..5; first_index: of the batch's
  // first example, whose random numbers are stream first_index of `key`. What leaves [0, 1] is cut off
  // afterwards.
  at::Tensor (*of_images)(const at::Tensor& images, int64_t severity, uint64_t key,
                          int64_t first_index) = nullptr;
  // words: of one row, whose texts may change and which may be left out; numbers: two for each, uniform in [0, 1).
  void (*of_words)(std::vector<Word>& words, int64_t severity, std::span<const float> numbers) = nullptr;
};

Registry<Shift>& shift_registry();

// Checks the text of Cell::shift ("clean", "all_labels" or "<name>-<severity>"); ConfigError lists what is known.
void check_shift(const std::string& text);
// Whether it is one of the registry, and no other condition. Throws what check_shift throws.
bool changes_inputs(const std::string& text);
// Whether it changes tokens, and else images. Of those that change inputs. Throws what check_shift throws.
bool shifts_tokens(const std::string& text);
// Applies it to uint8 images [batch, 3, size, size] on the CPU and rounds to uint8; "clean" returns the
// images themselves. `first_index`: place of the batch's first example in its split. The result of an example
// does not depend on its batch. Throws what check_shift throws.
at::Tensor shifted_images(const std::string& text, const at::Tensor& images, const std::string& task,
                          int64_t first_index);
// Applies it to all rows of a split. A word that has no tokens after the change, or would make its row longer than the
// longest one of the split, stays as it was; so does a row without any word left.
TokenRows shifted_tokens(const std::string& text, const TokenRows& rows, const std::string& task,
                         const TokenTable& table);

}  // namespace fusegrid
