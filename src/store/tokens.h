#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Rows of token ids, each as long as it is: how they are filled up is decided where batches are made. On the CPU.
struct TokenRows {
  at::Tensor ids;      // int32 [total]
  at::Tensor offsets;  // int64 [rows + 1], rising from 0 to total: row i is ids[offsets[i] : offsets[i + 1]]

  bool defined() const { return ids.defined(); }
  int64_t size() const;                               // rows
  std::span<const int32_t> row(int64_t index) const;  // valid as long as `ids`
};

// What each example may choose from: rows of tokens, two or more an example.
struct ChoiceRows {
  TokenRows rows;      // of all examples, one after the other
  at::Tensor offsets;  // int64 [examples + 1]: example i chooses from rows offsets[i] to offsets[i + 1]

  bool defined() const { return offsets.defined(); }
};

// What the token ids of a file mean (docs/packs.md, "Token table").
struct TokenTable {
  std::string tokenizer;             // bytes of tokenizer.json, to be saved beside models
  std::string tokenizer_sha256;      // models and rows of different digests do not fit
  std::vector<std::string> entries;  // id -> its bytes; of a special one its name
  std::set<int64_t> special;         // ids that are no text
  int64_t pad = 0;                   // fills rows up; stands in none
  std::optional<int64_t> mask;       // what a masked language model reads in the place of hidden tokens
  std::optional<int64_t>
      separator;  // tokens behind the first of a row are of type 1; none: all are of type 0

  int64_t size() const { return static_cast<int64_t>(entries.size()); }  // of the vocabulary
  // The text of a row without its special tokens and the space before its first word. A row that a model made need
  // not be valid UTF-8.
  std::string text(std::span<const int32_t> row) const;
};

}  // namespace fusegrid
