#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::lines_test {
namespace {

TestZoo zoo_of(const Golden& golden) {
  TestZoo zoo = random_zoo(3);
  zoo.base = as_float(golden.under("base"));
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    zoo.experts[i] = as_float(golden.under("expert" + std::to_string(i)));
  }
  return zoo;
}

TEST(Lines, equals_its_definition) {
  for (const std::string name : {"task_arithmetic", "ties", "ties_fixed"}) {
    const Golden golden = read_golden("lines__" + name);
    const std::string alpha = name == "ties_fixed" ? "alpha=0.2,beta=0.8" : "beta=0.5";
    const std::string base = split(name, '_')[0] == "ties" ? "ties" : name;
    const Merged merged = zoo_of(golden).fuse("lines{base=" + base + "," + alpha + "}");
    expect_close(merged.weights, golden.under(""), 1e-7);
  }
}

TEST(Lines, grows_from_the_first_block_to_the_last_and_leaves_the_rest_at_alpha) {
  TestZoo zoo = random_zoo(2);
  zoo.base.clear();
  for (auto& expert : zoo.experts) {
    expert.clear();
  }
  const std::map<std::string, double> factors{
      {"embed.weight", 0.25}, {"text.h.0.w", 0.25},        {"text.h.10.w", 0.5},  // by number, not by text
      {"text.h.2.w", 0.3},    {"vision.layers.0.w", 0.25}, {"vision.layers.1.sub.7.w", 0.5},
      {"lone.0.w", 0.25}};
  for (const auto& [name, factor] : factors) {
    zoo.base[name] = at::zeros({2, 3});
    zoo.experts[0][name] = at::full({2, 3}, 3.0);
    zoo.experts[1][name] = at::full({2, 3}, 1.0);
  }
  const Weights merged = zoo.fuse("lines{alpha=0.25,beta=0.25}").weights;
  for (const auto& [name, factor] : factors) {
    expect_close(merged.at(name), at::full({2, 3}, 4 * factor), 1e-6);
  }
}

TEST(Lines, of_task_arithmetic_without_slope_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("lines{beta=0}");
  EXPECT_EQ(merged.facts.at("alpha"), number_text(1.0 / 3));
  expect_close(merged.weights, zoo.fuse("task_arithmetic{scale=" + number_text(1.0 / 3) + "}").weights, 0);
}

TEST(Lines, with_equal_factors_is_the_method_before_it) {
  const TestZoo zoo = random_zoo(3);
  for (const std::string base : {"task_arithmetic", "ties", "tsv_m", "iso_c"}) {
    const Merged merged = zoo.fuse("lines{alpha=0.4,beta=0,base=" + base + "}");
    EXPECT_EQ(digest(merged.weights), digest(zoo.fuse(base + "{scale=0.4}").weights)) << base;
  }
}

}  // namespace
}  // namespace fusegrid::lines_test
