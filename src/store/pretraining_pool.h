#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "store/tokens.h"

namespace fusegrid {

// What bases are pretrained on, source by source.
struct PoolSourceInfo {
  std::string name;
  std::string kind;  // text, pairs, mask (glyphs, coloured by the trainer) or rgb
  int64_t examples = 0;
  double share = 0;         // of a batch: docs/packs.md says what the shares of a kind add up to
  int64_t classes = 0;      // of mask and rgb, else 0
  int64_t longest_row = 0;  // tokens of the longest text or partner; 0 for images
};

// Rows of one source. What its kind has not is undefined.
struct PoolRows {
  TokenRows tokens;    // of text and pairs
  TokenRows partners;  // of pairs: row i says the same as row i of tokens in other words, or answers it
  at::Tensor images;   // uint8 [rows, channels (mask: 1, rgb: 3), height, width]
  at::Tensor labels;   // int64 [rows], of mask and rgb: 0-based inside the source
};

// A whole source of images.
struct PoolSource {
  std::string name;
  at::Tensor images;  // uint8 [examples, channels (1: mask, 3: rgb), height, width]
  at::Tensor labels;  // int64 [examples], 0-based inside the source
  int64_t classes = 0;
  double share = 0;   // of the examples of a batch
  bool mask = false;  // glyph masks, coloured by the trainer
};

// Read access to a pretraining pool (HDF5; docs/packs.md). As a task pack, it checks shapes when it is opened and
// values when rows are read. Rows are in mixed order: any range of them is a random sample.
class PretrainingPool {
 public:
  // Throws IoError where the file is missing, DataError where it is not a pretraining pool of version 2.
  explicit PretrainingPool(const std::filesystem::path& path);
  ~PretrainingPool();
  PretrainingPool(PretrainingPool&&) noexcept;

  const std::vector<PoolSourceInfo>& sources() const;  // sorted by name
  const TokenTable* tokens() const;                    // null where no source has tokens
  // Rows [begin, begin + count) of a source, which it must have.
  PoolRows read(const std::string& source, int64_t begin, int64_t count) const;
  // All sources of images; ConfigError where there is none.
  std::vector<PoolSource> read_images() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fusegrid
