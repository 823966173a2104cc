#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::aswudi_test {
namespace {

TEST(Aswudi, equals_its_definition) {
  expect_includes(golden_zoo().fuse("aswudi{scale=0.8}").weights, read_golden("aswudi__default").tensors,
                  1e-6);
}

// Where all directions take part alike, ASWUDI is the whole closed form.
TEST(Aswudi, of_a_flat_spectrum_keeps_every_direction) {
  const at::Tensor square = std::get<0>(at::linalg_qr(random_matrix(4, 6, 6)));
  const TestZoo zoo = matrix_zoo({square, square * 2});
  expect_close(zoo.fuse("aswudi").weights, zoo.fuse("swudi{time=1000000000,rank=1}").weights, 1e-6);
}

}  // namespace
}  // namespace fusegrid::aswudi_test
