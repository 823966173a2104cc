#include "fuzz/mutations.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

namespace fusegrid::fuzz {
namespace {

constexpr size_t kMostBytes = 1 << 16;
constexpr size_t kMostEdits = 6;

// Texts of numbers and of structure that readers get wrong.
const std::vector<std::string>& common_words() {
  static const std::vector<std::string> words{"0",
                                              "-1",
                                              "1e308",
                                              "1e999",
                                              "-0.0",
                                              "NaN",
                                              "null",
                                              "true",
                                              "1.5",
                                              "9223372036854775807",
                                              "9223372036854775808",
                                              "18446744073709551615",
                                              "18446744073709551616",
                                              "4294967296",
                                              "[",
                                              "]",
                                              "{",
                                              "}",
                                              "\"",
                                              ":",
                                              ",",
                                              "=",
                                              "\n",
                                              "..",
                                              "../",
                                              "/",
                                              "\\",
                                              "\\u0000",
                                              "\\ud800",
                                              std::string(1, '\0'),
                                              "\xff",
                                              "\xef\xbb\xbf",
                                              "(a*)*b",
                                              "[[[[[[[[",
                                              "{\"a\":",
                                              std::string(300, 'a'),
                                              std::string(70, '[')};
  return words;
}

}  // namespace

Mutator::Mutator(uint64_t seed, std::vector<std::string> words) : random_(seed), words_(std::move(words)) {
  words_.insert(words_.end(), common_words().begin(), common_words().end());
}

size_t Mutator::below(size_t limit) {
  return limit == 0 ? 0 : static_cast<size_t>(random_() % limit);
}

std::string Mutator::next(const std::vector<std::string>& corpus) {
  std::string input = corpus.at(below(corpus.size()));
  for (size_t edits = 1 + below(kMostEdits); edits > 0; --edits) {
    edit(input, corpus);
  }
  input.resize(std::min(input.size(), kMostBytes));
  return input;
}

void Mutator::edit(std::string& input, const std::vector<std::string>& corpus) {
  const size_t at = below(input.size());
  const size_t count = below(std::min<size_t>(input.size() - at, 1 + below(64)));
  switch (below(9)) {
    case 0:
      if (!input.empty()) {
        input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
      }
      break;
    case 1:
      if (!input.empty()) {
        input[at] = static_cast<char>(below(256));
      }
      break;
    case 2:
      input.erase(at, count);
      break;
    case 3:
      input.insert(below(input.size()), input.substr(at, count));
      break;
    case 4:
      input.replace(at, below(8), words_[below(words_.size())]);
      break;
    case 5:
      input.insert(at, words_[below(words_.size())]);
      break;
    case 6: {  // a piece of another input
      const std::string& other = corpus[below(corpus.size())];
      const size_t begin = below(other.size());
      input.replace(at, count, other, begin, 1 + below(128));
      break;
    }
    case 7: {  // a binary number of 1, 2, 4 or 8 bytes
      const uint64_t values[] = {0, 1, ~uint64_t{0}, uint64_t{1} << 63, 0x7fffffff, random_()};
      const uint64_t value = values[below(std::size(values))];
      const size_t bytes = size_t{1} << below(4);
      if (input.size() >= at + bytes) {
        std::memcpy(&input[at], &value, bytes);
      }
      break;
    }
    default:
      edit_number(input);
  }
}

// Replaces a run of digits, from a random place on, by another number.
void Mutator::edit_number(std::string& input) {
  const auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const auto begin =
      std::find_if(input.begin() + static_cast<ptrdiff_t>(below(input.size())), input.end(), digit);
  const auto end = std::find_if_not(begin, input.end(), digit);
  if (begin != end) {
    input.replace(begin, end, std::to_string(random_() >> below(64)));
  }
}

}  // namespace fusegrid::fuzz
