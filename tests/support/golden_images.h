// The models of tests/golden/image_models.json.
#pragma once

#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/philox.h"
#include "models/architecture.h"
#include "support/source_folder.h"

namespace fusegrid {

struct GoldenImages {
  explicit GoldenImages(const std::string& name) {
    std::ifstream file(source_folder() / "tests/golden/image_models.json");
    expected = nlohmann::json::parse(file).at(name);
    architecture = make_architecture(expected.at("config"));
    for (const TensorInfo& info : architecture->parameters()) {
      weights.emplace(info.name, drawn(info.name, info.shape));
    }
    const auto [height, width] = architecture->input().pixels();
    inputs.images = noise("images", {2, 3, height, width}) * 2;
  }

  // Numbers of the file in the shape of `like`.
  static at::Tensor numbers(const nlohmann::json& values, const at::Tensor& like) {
    const at::Tensor all = at::tensor(values.get<std::vector<double>>(), at::kDouble);
    EXPECT_EQ(all.numel(), like.numel());
    return all.numel() == like.numel() ? all.view(like.sizes()) : all;
  }

  // Whether files hold each parameter under one of its names, in its shape, and nothing else but counters.
  void expect_names_of_files() const {
    const nlohmann::json& tensors = expected.at("tensors");
    std::set<std::string> found;
    for (const TensorInfo& info : architecture->parameters()) {
      for (const std::string& name : architecture->names_in_files(info.name)) {
        if (tensors.contains(name)) {
          found.insert(name);
          EXPECT_EQ(tensors.at(name).get<std::vector<int64_t>>(), info.shape) << name;
        }
      }
    }
    EXPECT_EQ(found.size(), tensors.size());
    EXPECT_EQ(found.size(), weights.size());
  }

  nlohmann::json expected;
  std::unique_ptr<Architecture> architecture;
  Weights weights;  // float64
  Inputs inputs;

 private:
  // As make_image_models.py draws them.
  static at::Tensor noise(const std::string& name, const std::vector<int64_t>& shape) {
    const auto count = c10::multiply_integers(shape);
    return (uniform(derive_key(7, name), 0, 0, count).to(at::kDouble) * 2 - 1).view(shape);
  }
  static at::Tensor drawn(const std::string& name, const std::vector<int64_t>& shape) {
    const at::Tensor numbers = noise(name, shape);
    if (name.ends_with("running_var") || (name.ends_with("weight") && shape.size() == 1)) {
      return 1 + 0.5 * numbers;
    }
    const auto fan_in = c10::multiply_integers(shape.begin() + 1, shape.end());
    return numbers * (name.ends_with("weight") ? std::sqrt(3.0 / static_cast<double>(fan_in)) : 0.5);
  }
};

}  // namespace fusegrid
