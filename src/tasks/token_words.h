// Rows of tokens as words that can be changed and written in tokens again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/tokens.h"

namespace fusegrid {

// One word with the space in front of it, or one special token, which is no text.
struct Word {
  std::vector<int32_t> ids;
  std::string text;
  bool special = false;
};

// A word begins with a token that begins with a space, and behind a special one.
std::vector<Word> words_of(std::span<const int32_t> row, const TokenTable& table);

// Writes text in the tokens of a table, the longest one first at every place. Not always as its tokenizer would, whose
// merges have an order, but in tokens that say the same bytes.
class TokenWriter {
 public:
  explicit TokenWriter(const TokenTable& table);
  // nullopt where a byte stands in no token.
  std::optional<std::vector<int32_t>> write(const std::string& text) const;

 private:
  std::map<std::string, int32_t> ids_;  // of tokens that are text
  size_t longest_ = 0;                  // bytes of one
};

}  // namespace fusegrid
