// Dropped words: each word of a text is left out with a chance, but one.
//
// Source:  random deletion of Wei & Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text
//          Classification Tasks", EMNLP 2019, arXiv:1901.11196.

#include <array>
#include <utility>

#include "tasks/shift.h"

namespace fusegrid::shifts::dropped_words {
namespace {

constexpr std::array<float, 5> kChance{0.05F, 0.1F, 0.2F, 0.3F, 0.45F};

void apply(std::vector<Word>& words, int64_t severity, std::span<const float> numbers) {
  const float chance = kChance.at(static_cast<size_t>(severity - 1));
  // The one with the largest number stays, so that something is there to read.
  size_t kept = words.size();
  for (size_t i = 0; i < words.size(); ++i) {
    if (!words[i].special && (kept == words.size() || numbers[2 * i] > numbers[2 * kept])) {
      kept = i;
    }
  }
  std::vector<Word> left;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].special || i == kept || numbers[2 * i] >= chance) {
      left.push_back(std::move(words[i]));
    }
  }
  words = std::move(left);
}

const bool registered = [] {
  shift_registry().add(
      "dropped_words",
      {"dropped_words", "arXiv:1901.11196",
       "each word of a text is left out with a chance of 5, 10, 20, 30 or 45 %", nullptr, apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::dropped_words
