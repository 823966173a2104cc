#include "metrics/text_overlap.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <string_view>
#include <vector>

namespace fusegrid {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) {
    words.push_back(word);
  }
  return words;
}

// Runs of ASCII letters and digits, in lower case.
std::vector<std::string> plain_words_of(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = byte < 128 && std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : ' ';
  }
  return words_of(text);
}

// Bytes of the character that begins with this one; 1 where none does.
size_t character_bytes(unsigned char first) {
  return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF8 ? 4 : 1;
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
}

std::vector<std::string> characters_of(const std::string& text) {
  std::vector<std::string> characters;
  for (size_t i = 0; i < text.size();) {
    size_t bytes = character_bytes(static_cast<unsigned char>(text[i]));
    if (i + bytes > text.size() ||
        !std::all_of(text.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                     text.begin() + static_cast<std::ptrdiff_t>(i + bytes), is_continuation)) {
      bytes = 1;
    }
    if (kSpaces.find(text[i]) == std::string_view::npos) {
      characters.push_back(text.substr(i, bytes));
    }
    i += bytes;
  }
  return characters;
}

using Counts = std::map<std::string, int64_t>;

Counts ngrams_of(const std::vector<std::string>& units, size_t n) {
  Counts counts;
  for (size_t begin = 0; begin + n <= units.size(); ++begin) {
    std::string ngram;
    for (size_t i = begin; i < begin + n; ++i) {
      ngram += units[i];
    }
    ++counts[ngram];
  }
  return counts;
}

int64_t total(const Counts& counts) {
  int64_t sum = 0;
  for (const auto& [unit, count] : counts) {
    sum += count;
  }
  return sum;
}

int64_t common(const Counts& a, const Counts& b) {
  int64_t sum = 0;
  for (const auto& [unit, count] : a) {
    const auto other = b.find(unit);
    sum += other == b.end() ? 0 : std::min(count, other->second);
  }
  return sum;
}

size_t longest_common_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<size_t> row(b.size() + 1, 0);
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

double word_f1(const std::string& answer, const std::string& wanted) {
  const Counts a = ngrams_of(words_of(answer), 1);
  const Counts b = ngrams_of(words_of(wanted), 1);
  const int64_t both = total(a) + total(b);
  return both == 0 ? 1 : 2.0 * static_cast<double>(common(a, b)) / static_cast<double>(both);
}

double rouge_l(const std::string& answer, const std::string& wanted) {
  const auto a = plain_words_of(answer);
  const auto b = plain_words_of(wanted);
  const size_t both = a.size() + b.size();
  return a.empty() || b.empty()
             ? 0
             : 2.0 * static_cast<double>(longest_common_subsequence(a, b)) / static_cast<double>(both);
}

NgramCounts ngram_counts(const std::string& answer, const std::string& wanted) {
  const auto of_answer = characters_of(answer);
  const auto of_wanted = characters_of(wanted);
  NgramCounts counts{};
  for (size_t n = 1; n <= kLongestNgram; ++n) {
    const Counts a = ngrams_of(of_answer, n);
    const Counts b = ngrams_of(of_wanted, n);
    counts[3 * (n - 1)] = b.empty() ? 0 : static_cast<float>(total(a));
    counts[3 * (n - 1) + 1] = static_cast<float>(total(b));
    counts[3 * (n - 1) + 2] = static_cast<float>(common(a, b));
  }
  return counts;
}

double chrf(std::span<const double> counts) {
  constexpr double kWeightOfRecall = 4;  // beta^2
  double precision = 0;
  double recall = 0;
  double orders = 0;
  for (size_t n = 0; n < kLongestNgram; ++n) {
    const double of_answer = counts[3 * n];
    const double of_wanted = counts[3 * n + 1];
    if (of_answer > 0 && of_wanted > 0) {
      precision += counts[3 * n + 2] / of_answer;
      recall += counts[3 * n + 2] / of_wanted;
      ++orders;
    }
  }
  if (precision + recall == 0) {
    return 0;
  }
  precision /= orders;
  recall /= orders;
  return (1 + kWeightOfRecall) * precision * recall / (kWeightOfRecall * precision + recall);
}

}  // namespace fusegrid
