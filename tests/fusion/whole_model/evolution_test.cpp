#include "fusion/whole_model/evolution.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using Objective = std::function<double(const std::vector<double>&)>;

// The best point of so many generations.
std::vector<double> minimised(CmaEs& strategy, const Objective& objective, int generations) {
  std::vector<double> best;
  double least = INFINITY;
  for (int generation = 0; generation < generations; ++generation) {
    const auto points = strategy.ask();
    std::vector<double> values;
    for (const auto& point : points) {
      values.push_back(objective(point));
      if (values.back() < least) {
        least = values.back();
        best = point;
      }
    }
    std::vector<int64_t> order(points.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return values[static_cast<size_t>(a)] < values[static_cast<size_t>(b)];
    });
    strategy.tell(order);
  }
  return best;
}

// The tutorial's table of default populations: 4 + floor(3 ln n).
TEST(CmaEs, has_the_populations_of_the_tutorial) {
  EXPECT_EQ(CmaEs({0.5}, 0.3, 1).population(), 4);
  EXPECT_EQ(CmaEs(std::vector<double>(10, 0.5), 0.3, 1).population(), 10);
  EXPECT_EQ(CmaEs(std::vector<double>(40, 0.5), 0.3, 1).population(), 15);
}

TEST(CmaEs, finds_the_middle_of_a_bowl) {
  CmaEs strategy(std::vector<double>(5, 0.5), 0.3, 7);
  const std::vector<double> target{0.2, 0.9, 0.4, 0.6, 0.75};
  const auto bowl = [&](const std::vector<double>& x) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      sum += (x[i] - target[i]) * (x[i] - target[i]);
    }
    return sum;
  };
  EXPECT_LT(bowl(minimised(strategy, bowl, 80)), 1e-8);
  EXPECT_LT(strategy.step_size(), 1e-3);
}

// A narrow valley at an angle, a hundred times as steep across as along: who does not learn the covariance creeps.
TEST(CmaEs, learns_the_shape_of_a_valley) {
  CmaEs strategy({0.1, 0.1}, 0.3, 11);
  const auto valley = [](const std::vector<double>& x) {
    const double along = x[0] + x[1] - 1.3;
    const double across = x[0] - x[1];
    return along * along + 1e4 * across * across;
  };
  EXPECT_LT(valley(minimised(strategy, valley, 90)), 1e-8);
}

TEST(CmaEs, stays_in_the_box) {
  CmaEs strategy({0.5, 0.5}, 0.5, 3);
  const auto corner = [](const std::vector<double>& x) { return x[0] - x[1]; };
  for (const auto& point : strategy.ask()) {
    for (const double x : point) {
      EXPECT_GE(x, 0);
      EXPECT_LE(x, 1);
    }
  }
  CmaEs again({0.5, 0.5}, 0.5, 3);
  const auto best = minimised(again, corner, 30);
  EXPECT_EQ(best, (std::vector<double>{0, 1}));
}

TEST(CmaEs, draws_the_same_for_the_same_key) {
  CmaEs one({0.5, 0.5}, 0.3, 3);
  CmaEs same({0.5, 0.5}, 0.3, 3);
  CmaEs other({0.5, 0.5}, 0.3, 4);
  const auto first = one.ask();
  EXPECT_EQ(first, same.ask());
  EXPECT_NE(first, other.ask());
  EXPECT_NE(first, one.ask()) << "generations differ";
}

}  // namespace
}  // namespace fusegrid
