#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/path_loss.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::auto_neb_test {
namespace {

Weights at_t(const TestZoo& zoo, const std::string& t, const std::string& more) {
  return zoo.fuse("auto_neb{batch=24,t=" + t + "," + more + "}").weights;
}

double distance(const Weights& a, const Weights& b) {
  double sum = 0;
  for (const auto& [name, tensor] : a) {
    if (tensor.is_floating_point()) {
      const double norm = (tensor - b.at(name)).norm().item<double>();
      sum += norm * norm;
    }
  }
  return std::sqrt(sum);
}

TEST(AutoNeb, ends_at_its_ends) {
  const TestZoo zoo = random_zoo(2, 0.3);
  EXPECT_EQ(digest(at_t(zoo, "0", "steps=3")), digest(zoo.experts[0]));
  EXPECT_EQ(digest(at_t(zoo, "1", "steps=3")), digest(zoo.experts[1]));
}

TEST(AutoNeb, without_steps_is_the_line) {
  const TestZoo zoo = random_zoo(2, 0.3);
  expect_close(at_t(zoo, "0.3", "steps=0,cycles=1"), zoo.fuse("linear_interpolation{t=0.3}").weights, 1e-6);
}

// Before points are added they stand at equal distances, wherever descent has pushed them.
TEST(AutoNeb, keeps_its_points_at_equal_distances) {
  const TestZoo zoo = random_zoo(2, 0.3);
  std::vector<Weights> points;
  for (const char* t : {"0", "0.25", "0.5", "0.75", "1"}) {
    points.push_back(at_t(zoo, t, "points=3,cycles=1,steps=4,lr=0.05"));
  }
  const double first = distance(points[1], points[0]);
  EXPECT_GT(4 * first, distance(points[4], points[0]) * 1.0001) << "the chain is bent";
  // cut corners make a chain a little shorter than the one that its points were spread along
  for (size_t i = 2; i < points.size(); ++i) {
    EXPECT_NEAR(distance(points[i], points[i - 1]), first, 0.05 * first);
  }
}

TEST(AutoNeb, lowers_the_loss_along_the_path) {
  const TestZoo zoo = random_zoo(2, 0.4);
  zoo.with_input(method_registry().at("auto_neb").card, [&](const FusionInput& in) {
    const PathPoints path(in);
    const PathLoss loss(in, path, "test", 24, 0);
    const auto middle = [&](const std::string& more) {
      return loss.loss(path.tensors_of(at_t(zoo, "0.5", more)), 0);
    };
    EXPECT_LT(middle("cycles=1,steps=30,lr=0.05,weight_decay=0"), middle("cycles=1,steps=0"));
  });
}

TEST(AutoNeb, adds_points_where_the_loss_is_above_the_chord) {
  const TestZoo zoo = random_zoo(2, 0.4);
  const auto points = [&](const std::string& insert) {
    return std::stoi(
        zoo.fuse("auto_neb{points=1,cycles=2,steps=1,batch=6,insert=" + insert + "}").facts.at("points"));
  };
  EXPECT_EQ(points("1000"), 1);
  EXPECT_GE(points("0"), 1);
  EXPECT_LE(points("0"), 3) << "one between two";
}

}  // namespace
}  // namespace fusegrid::auto_neb_test
