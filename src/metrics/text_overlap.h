// How much of a wanted text an answer holds, as the metrics of text-to-text tasks count it. Texts are UTF-8; a byte
// that is none counts as a character of its own.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace fusegrid {

// F1 of the words, which spaces divide, as multisets; in [0, 1]. Two texts without words are alike.
double word_f1(const std::string& answer, const std::string& wanted);

// F1 of the longest common subsequence of words, in [0, 1]; words are runs of ASCII letters and digits in lower case.
// Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, as Google's rouge-score computes it
// without a stemmer: 0 where one side has no word.
double rouge_l(const std::string& answer, const std::string& wanted);

// n-grams of characters without (ASCII's) white space, for each n of 1..6: of the answer, of the wanted text, of both.
// Where the wanted text is too short to have any, those of the answer do not count either, as in sacreBLEU.
constexpr size_t kLongestNgram = 6;
using NgramCounts = std::array<float, 3 * kLongestNgram>;
NgramCounts ngram_counts(const std::string& answer, const std::string& wanted);
// chrF of summed counts, in [0, 1]: F2 of precision and recall, each the mean over the n that both sides have. Source:
// Popovic, "chrF: character n-gram F-score for automatic MT evaluation", 2015, as sacreBLEU sums it over a corpus.
double chrf(std::span<const double> counts);

}  // namespace fusegrid
