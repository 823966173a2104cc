#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/whole_model/curve.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::polygonal_chain_test {
namespace {

Weights at_t(const TestZoo& zoo, const std::string& t) {
  return zoo.fuse("polygonal_chain{steps=3,lr=0.05,batch=10,t=" + t + "}").weights;
}

TEST(PolygonalChain, is_straight_between_its_corners) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Weights bend = at_t(zoo, "0.5");
  Weights quarter, three_quarters;
  for (const auto& [name, tensor] : bend) {
    const bool moves = tensor.is_floating_point();
    quarter[name] = moves ? (zoo.experts[0].at(name) + tensor) / 2 : tensor;
    three_quarters[name] = moves ? (zoo.experts[1].at(name) + tensor) / 2 : tensor;
  }
  expect_close(at_t(zoo, "0.25"), quarter, 1e-6);
  expect_close(at_t(zoo, "0.75"), three_quarters, 1e-6);
  EXPECT_EQ(digest(at_t(zoo, "0")), digest(zoo.experts[0]));
  EXPECT_EQ(digest(at_t(zoo, "1")), digest(zoo.experts[1]));
}

TEST(PolygonalChain, leaves_the_line_when_it_is_trained) {
  const TestZoo zoo = random_zoo(2, 0.3);
  EXPECT_NE(digest(at_t(zoo, "0.5")), digest(zoo.fuse("polygonal_chain{steps=0,t=0.5}").weights));
  expect_close(zoo.fuse("polygonal_chain{steps=0,t=0.4}").weights,
               zoo.fuse("linear_interpolation{t=0.4}").weights, 3e-7);
}

TEST(PolygonalChain, hat_functions_count_two_corners_at_most) {
  EXPECT_EQ(curve_coefficients(CurveShape::kPolygonalChain, 1, 0.25), (std::vector<double>{0.5, 0.5, 0}));
  EXPECT_EQ(curve_coefficients(CurveShape::kPolygonalChain, 3, 0.5), (std::vector<double>{0, 0, 1, 0, 0}));
}

}  // namespace
}  // namespace fusegrid::polygonal_chain_test
