#include "tasks/token_words.h"

#include <algorithm>

namespace fusegrid {

std::vector<Word> words_of(std::span<const int32_t> row, const TokenTable& table) {
  std::vector<Word> words;
  for (const int32_t id : row) {
    const std::string& bytes = table.entries.at(static_cast<size_t>(id));
    const bool special = table.special.contains(id);
    if (words.empty() || special || words.back().special || bytes.starts_with(' ')) {
      words.push_back({{}, "", special});
    }
    words.back().ids.push_back(id);
    words.back().text += special ? "" : bytes;
  }
  return words;
}

TokenWriter::TokenWriter(const TokenTable& table) {
  for (int64_t id = 0; id < table.size(); ++id) {
    const std::string& bytes = table.entries[static_cast<size_t>(id)];
    if (!table.special.contains(id) && !bytes.empty()) {
      ids_.emplace(bytes, static_cast<int32_t>(id));
      longest_ = std::max(longest_, bytes.size());
    }
  }
}

std::optional<std::vector<int32_t>> TokenWriter::write(const std::string& text) const {
  std::vector<int32_t> ids;
  for (size_t begin = 0; begin < text.size();) {
    size_t length = std::min(longest_, text.size() - begin);
    auto found = ids_.find(text.substr(begin, length));
    while (found == ids_.end() && length > 1) {
      found = ids_.find(text.substr(begin, --length));
    }
    if (found == ids_.end()) {
      return std::nullopt;
    }
    ids.push_back(found->second);
    begin += length;
  }
  return ids;
}

}  // namespace fusegrid
