#include "metrics/text_overlap.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "metrics/text_overlap_golden.h"

namespace fusegrid::text_overlap_test {
namespace {

using testing::Each;
using testing::ElementsAre;

// Of one example.
double chrf_of(const std::string& answer, const std::string& wanted) {
  const NgramCounts counts = ngram_counts(answer, wanted);
  return chrf(std::vector<double>(counts.begin(), counts.end()));
}

// The counts of the n-grams of one length: of the answer, of the wanted text, of both.
std::vector<float> counts_of(const std::string& answer, const std::string& wanted, size_t n) {
  const NgramCounts counts = ngram_counts(answer, wanted);
  const auto begin = counts.begin() + static_cast<std::ptrdiff_t>(3 * (n - 1));
  return {begin, begin + 3};
}

TEST(TextOverlap, is_that_of_the_originals) {
  ASSERT_GE(text_overlap_golden()["pairs"].size(), 12U);
  for (const auto& pair : text_overlap_golden()["pairs"]) {
    const std::string answer = pair["answer"];
    const std::string wanted = pair["wanted"];
    EXPECT_NEAR(chrf_of(answer, wanted), pair["chrf"].get<double>(), 1e-14) << answer << " | " << wanted;
    EXPECT_NEAR(rouge_l(answer, wanted), pair["rouge_l"].get<double>(), 1e-14) << answer << " | " << wanted;
  }
}

TEST(NgramCounts, are_of_characters_without_white_space) {
  EXPECT_THAT(counts_of("aab a", "ab a\t\n", 1), ElementsAre(4, 3, 3));  // a a b a, a b a
  EXPECT_THAT(counts_of("aab a", "ab a\t\n", 2), ElementsAre(3, 2, 2));  // aa ab ba, ab ba
  EXPECT_THAT(counts_of("aab a", "ab a\t\n", 3), ElementsAre(2, 1, 1));
  EXPECT_THAT(counts_of("aab a", "", 1), Each(0)) << "where nothing is wanted nothing can be found";
}

TEST(NgramCounts, are_of_characters_and_not_of_bytes) {
  EXPECT_THAT(counts_of("\u00e9\u00e8", "\u00e9", 1), ElementsAre(2, 1, 1));
  EXPECT_THAT(counts_of("\U0001F642a", "\U0001F643a", 1), ElementsAre(2, 2, 1));
}

// A model may stop in the middle of a character.
TEST(NgramCounts, take_bytes_that_are_no_character_one_by_one) {
  EXPECT_THAT(counts_of("a\xE2\x82", "a", 1), ElementsAre(3, 1, 1)) << "cut off";
  EXPECT_THAT(counts_of("\xE2\x61\x62", "ab", 1), ElementsAre(3, 2, 2)) << "what follows is no part of it";
  EXPECT_THAT(counts_of("\x82\xFF", "\x82\xFF", 1), ElementsAre(2, 2, 2));
}

TEST(WordF1, is_of_words_as_often_as_they_stand_there) {
  EXPECT_EQ(word_f1("the cat", "the cat"), 1);
  EXPECT_EQ(word_f1("cat the", " the\tcat "), 1);
  EXPECT_EQ(word_f1("the the the cat", "the cat the"), 2.0 * 3 / 7);
  EXPECT_EQ(word_f1("The cat.", "the cat"), 0) << "capitals and marks count";
  EXPECT_EQ(word_f1("", "the cat"), 0);
  EXPECT_EQ(word_f1("the cat", " "), 0);
  EXPECT_EQ(word_f1(" ", ""), 1) << "alike";
}

}  // namespace
}  // namespace fusegrid::text_overlap_test
