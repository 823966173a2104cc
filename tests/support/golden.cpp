#include "support/golden.h"

#include <algorithm>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "core/text.h"
#include "support/source_folder.h"

namespace fusegrid {
namespace {

// 2 ulp of float32 at 1 are 2.4e-7: numbers are compared as float64, so nothing is lost in comparing.
double largest_deviation(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.numel() == 0) {
    return 0;
  }
  if (!actual.isfinite().all().item<bool>()) {
    return std::numeric_limits<double>::infinity();
  }
  return (actual.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

void record(double deviation) {
  static std::string test;
  static double largest = 0;
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string name = info == nullptr ? "" : std::string(info->test_suite_name()) + info->name();
  largest = name == test ? std::max(largest, deviation) : deviation;
  test = name;
  ::testing::Test::RecordProperty("largest_deviation", number_text(largest));
}

}  // namespace

Weights Golden::under(const std::string& prefix) const {
  Weights found;
  for (const auto& [name, tensor] : tensors) {
    if (prefix.empty() ? name.find('/') == std::string::npos : name.starts_with(prefix + "/")) {
      found.emplace(prefix.empty() ? name : name.substr(prefix.size() + 1), tensor);
    }
  }
  return found;
}

Golden read_golden(const std::string& name) {
  const SafetensorsFile file((source_folder() / "tests/golden/methods").string() + "/" + name +
                             ".safetensors");
  Golden golden;
  golden.metadata = file.metadata();
  for (const auto& tensor : file.tensors()) {
    golden.tensors.emplace(tensor.name, file.read(tensor.name));
  }
  return golden;
}

Weights as_float(const Weights& weights) {
  Weights converted;
  for (const auto& [name, tensor] : weights) {
    converted.emplace(name, tensor.to(at::kFloat));
  }
  return converted;
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  expect_close(Weights{{"tensor", actual}}, Weights{{"tensor", expected}}, tolerance);
}

void expect_close(const Weights& actual, const Weights& expected, double tolerance) {
  for (const auto& [name, tensor] : actual) {
    EXPECT_TRUE(expected.contains(name)) << "nobody expects " << name;
  }
  ASSERT_FALSE(expected.empty());
  for (const auto& [name, tensor] : expected) {
    const auto found = actual.find(name);
    ASSERT_NE(found, actual.end()) << name << " is missing";
    ASSERT_EQ(found->second.sizes().vec(), tensor.sizes().vec()) << name;
    const double deviation = largest_deviation(found->second, tensor);
    record(deviation);
    EXPECT_LE(deviation, tolerance) << name;
  }
}

void expect_includes(const Weights& actual, const Weights& expected, double tolerance) {
  EXPECT_FALSE(expected.empty());
  Weights shown;
  for (const auto& [name, tensor] : expected) {
    if (const auto found = actual.find(name); found != actual.end()) {
      shown.emplace(*found);
    }
  }
  expect_close(shown, expected, tolerance);
}

}  // namespace fusegrid
