#include "report/rank_statistics.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(Ranks, share_the_mean_of_their_places) {
  EXPECT_EQ(ranks_of({0.5, 0.9, 0.5, 0.1}), (std::vector<double>{2.5, 1, 2.5, 4}));
}

TEST(KendallTau, counts_pairs) {
  EXPECT_DOUBLE_EQ(kendall_tau({1, 2, 3, 4}, {10, 20, 30, 40}).value(), 1);
  EXPECT_DOUBLE_EQ(kendall_tau({1, 2, 3, 4}, {4, 3, 2, 1}).value(), -1);
  EXPECT_DOUBLE_EQ(kendall_tau({1, 2, 3, 4}, {1, 2, 4, 3}).value(), 4.0 / 6);
  // 5 pairs of the first list are ordered, all 6 of the second, 5 agree
  EXPECT_DOUBLE_EQ(kendall_tau({1, 1, 2, 3}, {1, 2, 3, 4}).value(), 5 / std::sqrt(30.0));
  EXPECT_FALSE(kendall_tau({1, 1, 1}, {1, 2, 3}));
  EXPECT_FALSE(kendall_tau({1}, {1}));
}

// Table 5 of Demsar (2006) has these divided by the square root of two: 1.960, 2.343, 2.569, 3.164.
TEST(StudentizedRange, is_that_of_printed_tables) {
  EXPECT_NEAR(studentized_range(2), 2.7718, 2e-4);
  EXPECT_NEAR(studentized_range(3), 3.3145, 2e-4);
  EXPECT_NEAR(studentized_range(4), 3.6332, 2e-4);
  EXPECT_NEAR(studentized_range(10), 4.4741, 2e-4);
}

// The four classifiers on fourteen data sets of Demsar (2006), table 6, whose text has average ranks 3.143, 2.000,
// 2.893, 1.964, chi^2 9.28, F 3.69 (critical value 2.85) and a critical difference of 1.25 (of q = 2.569). The table
// prints .975 twice on "voting", of which it ranks the third classifier's first.
TEST(CompareRanks, gives_the_numbers_of_the_paper) {
  const std::vector<std::vector<double>> scores{
      {.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.000, .940, .619, .972, .957},
      {.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.000, .962, .666, .981, .978},
      {.771, .590, .968, .654, .886, .916, .609, .563, .866, 1.000, .965, .614, .9751, .946},
      {.798, .569, .967, .657, .898, .931, .685, .625, .875, 1.000, .962, .669, .975, .970}};
  const RankComparison compared = compare_ranks(scores);
  EXPECT_NEAR(compared.average_ranks[0], 3.143, 5e-4);
  EXPECT_NEAR(compared.average_ranks[1], 2.000, 5e-4);
  EXPECT_NEAR(compared.average_ranks[2], 2.893, 5e-4);
  EXPECT_NEAR(compared.average_ranks[3], 1.964, 5e-4);
  EXPECT_NEAR(compared.critical_difference, 1.25, 5e-3);
  EXPECT_LT(compared.p, 0.05);
  EXPECT_GT(compared.p, 0.01);
}

TEST(CompareRanks, of_one_order_everywhere_is_certain) {
  EXPECT_EQ(compare_ranks({{3, 3, 3}, {2, 2, 2}, {1, 1, 1}}).p, 0);
}

TEST(CompareRanks, of_ties_alone_finds_nothing) {
  EXPECT_DOUBLE_EQ(compare_ranks({{1, 1}, {1, 1}, {1, 1}}).p, 1);
}

}  // namespace
}  // namespace fusegrid
