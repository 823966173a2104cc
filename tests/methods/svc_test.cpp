#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/method.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::svc_test {
namespace {

// Not to one unit of float32: the merged task vector is rounded to it, which turns its singular vectors.
TEST(Svc, equals_fusion_bench) {
  const TestZoo zoo = golden_zoo();
  expect_close(zoo.fuse("svc{base=task_arithmetic,scale=0.3,alpha=0.1}").weights,
               read_golden("svc__task_arithmetic").tensors, 1e-6);
  expect_close(zoo.fuse("svc{base=tsv_m,scale=1,alpha=0.5}").weights, read_golden("svc__tsv_m").tensors,
               1e-6);
}

TEST(Svc, of_equal_experts_divides_out_how_often_they_were_added) {
  const at::Tensor tau = random_matrix(5, 4, 6);
  const Weights merged = matrix_zoo({tau, tau, tau}).fuse("svc{scale=1,alpha=0.1}").weights;
  expect_close(merged.at("fc.weight"), tau, 2e-6);
}

TEST(Svc, leaves_a_merge_alone_that_amplifies_nothing) {
  const TestZoo zoo = matrix_zoo(orthogonal_taus(3, 6, 8));
  expect_close(zoo.fuse("svc{scale=0.9,alpha=1}").weights, zoo.fuse("task_arithmetic{scale=0.9}").weights,
               2e-6);
}

TEST(Svc, goes_on_from_every_base_that_it_names) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string base : {"task_arithmetic", "tsv_m", "knots", "wudi"}) {
    ASSERT_TRUE(method_registry().at(base).direction) << base;
    const Weights calibrated = zoo.fuse("svc{alpha=100,scale=1,base=" + base + "}").weights;
    const Weights merged = zoo.fuse(base + "{scale=1}").weights;
    for (const auto& [name, tensor] : zoo.base) {  // alpha above all ratios: all directions are divided by it
      const at::Tensor step = (merged.at(name) - tensor) / (tensor.dim() == 2 ? 100.0 : 1.0);
      if (tensor.is_floating_point()) {
        expect_close(calibrated.at(name) - tensor, step, 5e-7);
      }
    }
  }
}

}  // namespace
}  // namespace fusegrid::svc_test
