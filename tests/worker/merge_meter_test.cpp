#include "worker/merge_meter.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "worker/merge_maker.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

class MergeCosts : public TinyZoos {
 protected:
  std::map<std::string, double> of(const std::string& method) {
    const Cell cell = tiny_cell(method);
    return maker_.of(cell, zoos_.open(cell.zoo), [] {}).costs;
  }
  double operations(const std::string& method) { return of(method).at("fuse_operations"); }

  Network network() { return zoos_.open("embedded-tiny").network(0); }
  // Numbers of a model.
  double parameters() {
    double count = 0;
    for (const TensorInfo& info : network().architecture->parameters()) {
      count += static_cast<double>(info.numel());
    }
    return count;
  }
  // Of in^2 out, in^3: sums over the layers.
  std::pair<double, double> products_and_cubes() {
    double products = 0, cubes = 0;
    const auto parameters = network().architecture->parameters();
    for (const Layer& layer : network().architecture->layers()) {
      const auto info = std::find_if(parameters.begin(), parameters.end(),
                                     [&](const auto& each) { return each.name == layer.weight; });
      const auto out = static_cast<double>(info->shape[0]), in = static_cast<double>(info->shape[1]);
      products += in * in * out;
      cubes += in * in * in;
    }
    return {products, cubes};
  }

  ZooCache zoos_{{{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}};
  MergeMaker maker_{{.statistics_bytes = 1 << 24}, at::kCPU};
};

// Of N = 2 experts with d numbers each.

TEST_F(MergeCosts, an_average_reads_each_expert_once_and_task_arithmetic_the_base_twice) {
  EXPECT_EQ(operations("simple_average"), 2 * parameters());
  EXPECT_EQ(operations("task_arithmetic"), 4 * parameters())
      << "for the sum of the task vectors, and to add it";
  EXPECT_EQ(operations("task_arithmetic{scale=0.7}"), parameters()) << "the sum is there";
}

TEST_F(MergeCosts, ties_reads_all_models_in_each_of_its_passes) {
  const double ties = operations("ties"), task_arithmetic = operations("task_arithmetic");
  EXPECT_GT(ties, 1.5 * task_arithmetic);
  EXPECT_LT(ties, 8 * task_arithmetic);
}

TEST_F(MergeCosts, regmean_costs_its_products_and_its_cholesky_once_statistics_are_there) {
  const double with_statistics = operations("regmean");
  const auto [products, cubes] = products_and_cubes();
  // sum_i G_i (W_i - mean) by 2 in^2 out each, the triangular systems by 2 in^2 out; and every number read once
  const double merge = 2 * 2 * products + 2 * products + cubes / 3 + 2 * parameters();
  const double again = operations("regmean{ratio=0.5}");
  EXPECT_NEAR(again, merge, static_cast<double>(network().architecture->layers().size()))
      << "n^3 / 3 is whole";
  EXPECT_GT(with_statistics, 10 * again) << "passes over the training inputs";
}

TEST_F(MergeCosts, a_step_of_adaptation_costs_the_same_each_time) {
  const double none = operations("layer_wise_adamerging{steps=0}");
  const double one = operations("layer_wise_adamerging{steps=1}");
  const double three = operations("layer_wise_adamerging{steps=3}");
  EXPECT_GT(one, none);
  EXPECT_EQ(three - one, 2 * (one - none));
}

TEST_F(MergeCosts, say_the_most_memory_in_use) {
  const auto average = of("simple_average");
  if (!average.contains("fuse_peak_bytes")) {
    GTEST_SKIP() << "the system does not tell what a process has had resident";
  }
  const PeakMemory peak(at::kCPU);
  const int64_t before = peak.bytes().value();
  { const at::Tensor large = at::ones({int64_t{1} << 26}); }
  const int64_t with_large = peak.bytes().value();
  EXPECT_GT(with_large - before, int64_t{200} << 20);
  EXPECT_LT(PeakMemory(at::kCPU).bytes().value(), with_large - (int64_t{100} << 20)) << "another begins anew";
}

}  // namespace
}  // namespace fusegrid
