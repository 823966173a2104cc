#include "core/weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/digest.h"

namespace fusegrid {
namespace {

Weights example() {
  return {{"b", at::arange(6, at::kFloat).view({2, 3})}, {"a", at::zeros({4}, at::kLong)}};
}

TEST(TensorInfos, list_tensors_by_name) {
  const auto infos = tensor_infos(example());
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].name, "a");
  EXPECT_FALSE(infos[0].floating());
  EXPECT_EQ(infos[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(infos[1].numel(), 6);
  EXPECT_TRUE(infos[1].floating());
  EXPECT_EQ((TensorInfo{"scalar", {}}).numel(), 1);
  EXPECT_EQ((TensorInfo{"empty", {3, 0}}).numel(), 0);
}

TEST(Digest, is_that_of_names_dtypes_shapes_and_values) {
  const std::string whole = digest(example());
  EXPECT_EQ(digest(example()), whole);
  Weights renamed = example();
  renamed["c"] = renamed["a"];
  renamed.erase("a");
  EXPECT_NE(digest(renamed), whole);
  Weights reshaped = example();
  reshaped["b"] = reshaped["b"].view({3, 2});
  EXPECT_NE(digest(reshaped), whole);
  Weights converted = example();
  converted["a"] = at::zeros({4}, at::kDouble);  // the same bytes
  EXPECT_NE(digest(converted), whole);
  Weights changed = example();
  changed["b"][1][2] = 7;
  EXPECT_NE(digest(changed), whole);
}

// Both written by Python's hashlib: names, dtypes, sizes and the SHA-256s of the values, or of their pieces.
TEST(Digest, is_the_defined_one) {
  EXPECT_EQ(digest(example()), "e2bfba3c467d56af06c2a6b3a7313c2de05c2851d0c5b9dc4cf3d35b26c7654d");
  Weights pieces{{"big", at::zeros({(1 << 24) + 1})}, {"small", at::full({1}, 2.0)}};
  pieces["big"][-1] = 1;
  const std::string expected = "e593c5b86ee125a732d16b1f0f2514bc02a2fbdc08013f5d968dcf9b094dde97";
  EXPECT_EQ(digest(pieces), expected);
  Sha256 hash;
  for (const auto& [name, tensor] : pieces) {
    add_to_digest(hash, name, tensor, digest_of_values(tensor));
  }
  EXPECT_EQ(hash.hex(), expected);
}

TEST(Digest, of_nothing_and_of_empty_tensors_differ) {
  const Weights empty{{"a", at::zeros({3, 0})}};
  EXPECT_NE(digest(empty), digest(Weights()));
  EXPECT_NE(digest(empty), digest({{"a", at::zeros({0, 3})}}));
}

TEST(Digest, does_not_depend_on_strides_or_gradients) {
  Weights strided = example();
  strided["b"] = strided["b"].t().contiguous().t();
  ASSERT_FALSE(strided["b"].is_contiguous());
  strided["b"].requires_grad_(true);
  EXPECT_EQ(digest(strided), digest(example()));
}

TEST(Digest, of_tensors_one_at_a_time_is_that_of_the_whole) {
  Sha256 hash;
  for (const auto& [name, tensor] : example()) {
    add_to_digest(hash, name, tensor, digest_of_values(tensor));
  }
  EXPECT_EQ(hash.hex(), digest(example()));
}

TEST(ToDevice, keeps_names_and_values) {
  EXPECT_EQ(digest(to_device(example(), at::kCPU)), digest(example()));
}

}  // namespace
}  // namespace fusegrid
