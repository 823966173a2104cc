#include "models/inputs.h"

#include <vector>

#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace fusegrid::inputs_test {
namespace {

at::Tensor marks(const std::vector<int64_t>& values, int64_t rows) {
  return at::tensor(values, at::kLong).view({rows, -1}).to(at::kBool);
}

Inputs two_rows() {
  return {{}, at::ones({2, 3}, at::kLong), at::tensor({1, 3}, at::kLong)};
}

TEST(Inputs, CountTheFirstPositionsOfEachRow) {
  EXPECT_TRUE(two_rows().counting().equal(marks({1, 0, 0, 1, 1, 1}, 2)));
  EXPECT_FALSE(Inputs().counting().defined());
  EXPECT_TRUE(counting_positions(at::tensor({0, 2}, at::kLong), 2).equal(marks({0, 0, 1, 1}, 2)));
}

TEST(Examples, MoveWithWhatIsToBeAnswered) {
  const Examples examples{two_rows(), at::tensor({0, 1}, at::kLong)};
  const Examples moved = examples.to(at::kMeta);
  for (const at::Tensor& tensor : {moved.inputs.tokens, moved.inputs.lengths, moved.labels}) {
    EXPECT_EQ(tensor.device(), at::kMeta);
  }
  EXPECT_FALSE(moved.inputs.images.defined());
  EXPECT_FALSE(moved.values.defined());
  EXPECT_EQ(Examples({{}, {}, at::ones({2})}).to(at::kMeta).values.device(), at::kMeta);
  EXPECT_EQ(examples.to(at::kCPU).labels.data_ptr(), examples.labels.data_ptr());
}

}  // namespace
}  // namespace fusegrid::inputs_test
