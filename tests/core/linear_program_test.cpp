#include "core/linear_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using Vector = std::vector<double>;

double product(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

TEST(LinearProgram, keeps_to_its_rows) {
  const auto solved = maximise_on_simplex({1, 0, 0}, {{-1, 1, 0}, {0, 0, 1}}, {0, 0.2});
  ASSERT_TRUE(solved.has_value());
  EXPECT_THAT(*solved, ElementsAre(DoubleNear(0.4, 1e-12), DoubleNear(0.4, 1e-12), DoubleNear(0.2, 1e-12)));
}

TEST(LinearProgram, says_where_there_is_no_solution) {
  EXPECT_EQ(maximise_on_simplex({1, 1}, {{1, 1}}, {1.5}), std::nullopt);
  EXPECT_EQ(maximise_on_simplex({1, 1}, {{0, 0}}, {0}), (Vector{1, 0})) << "a row of zeros says nothing";
  EXPECT_EQ(maximise_on_simplex({1, 1}, {{0, 0}}, {1}), std::nullopt);
}

// Of two rows and three variables: no point of a fine net over the simplex that keeps to the rows is better.
TEST(LinearProgram, is_as_good_as_any_point_of_a_net) {
  constexpr int kNet = 60;
  int64_t solvable = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const at::Tensor drawn = (normal(seed, 0, 0, 11)).to(at::kDouble);
    const auto* d = drawn.const_data_ptr<double>();
    const Vector objective(d, d + 3), bounds{d[9] / 2, d[10] / 2};
    const std::vector<Vector> rows{{d + 3, d + 6}, {d + 6, d + 9}};
    const auto solved = maximise_on_simplex(objective, rows, bounds);
    solvable += solved ? 1 : 0;
    for (int i = 0; i <= kNet; ++i) {
      for (int j = 0; i + j <= kNet; ++j) {
        const Vector x{i / double{kNet}, j / double{kNet}, (kNet - i - j) / double{kNet}};
        if (product(rows[0], x) >= bounds[0] && product(rows[1], x) >= bounds[1]) {
          ASSERT_TRUE(solved.has_value()) << seed;
          EXPECT_LE(product(objective, x), product(objective, *solved) + 1e-9) << seed;
        }
      }
    }
    if (solved) {
      EXPECT_GE(product(rows[0], *solved), bounds[0] - 1e-6) << seed;
      EXPECT_GE(product(rows[1], *solved), bounds[1] - 1e-6) << seed;
    }
  }
  EXPECT_GT(solvable, 50);
  EXPECT_LT(solvable, 190);
}

}  // namespace
}  // namespace fusegrid
