// Typos: two neighbouring letters of a word change places, with a chance for each word of two letters or more.
//
// Source:  "swap" of Belinkov & Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation", ICLR 2018,
//          arXiv:1711.02173.
// Differs: the first and last letter of a word may take part. The changed word is written in the longest tokens that
//          fit, which its tokenizer might divide otherwise.

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "tasks/shift.h"

namespace fusegrid::shifts::typos {
namespace {

constexpr std::array<float, 5> kChance{0.05F, 0.1F, 0.2F, 0.35F, 0.6F};

// Where a letter of UTF-8 begins and ends.
using Letter = std::pair<size_t, size_t>;

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

bool is_punctuation(char byte) {
  return std::string_view(" .,;:!?\"'()[]{}-_/\\|<>").find(byte) != std::string_view::npos;
}

// Pairs of letters that stand side by side, without spaces and punctuation.
std::vector<std::pair<Letter, Letter>> neighbours(const std::string& text) {
  std::vector<std::pair<Letter, Letter>> pairs;
  std::vector<Letter> run;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && is_continuation(text[end])) {
      ++end;
    }
    if (is_punctuation(text[begin])) {
      run.clear();
    } else {
      run.emplace_back(begin, end);
      if (run.size() > 1) {
        pairs.emplace_back(run[run.size() - 2], run.back());
      }
    }
    begin = end;
  }
  return pairs;
}

void apply(std::vector<Word>& words, int64_t severity, std::span<const float> numbers) {
  const float chance = kChance.at(static_cast<size_t>(severity - 1));
  for (size_t i = 0; i < words.size(); ++i) {
    const auto pairs = neighbours(words[i].text);
    if (words[i].special || pairs.empty() || numbers[2 * i] >= chance) {
      continue;
    }
    const auto at = static_cast<size_t>(numbers[2 * i + 1] * static_cast<float>(pairs.size()));
    const auto& [first, second] = pairs[std::min(at, pairs.size() - 1)];
    std::string& text = words[i].text;
    const std::string one = text.substr(first.first, first.second - first.first);
    const std::string other = text.substr(second.first, second.second - second.first);
    text.replace(first.first, second.second - first.first, other + one);
  }
}

const bool registered = [] {
  shift_registry().add("typos",
                       {"typos", "arXiv:1711.02173",
                        "two neighbouring letters of a word change places, with a chance of 5, 10, 20, 35 or "
                        "60 % for each word",
                        nullptr, apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::typos
