// Golden values: tests/golden/make_dit.py (diffusers). What holds for every family: tests/models/families_test.cpp.
#include <fstream>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::dit_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

void collect(const json& nested, std::vector<double>& numbers) {
  if (!nested.is_array()) {
    numbers.push_back(nested.get<double>());
    return;
  }
  for (const json& part : nested) {
    collect(part, numbers);
  }
}

at::Tensor tensor_of(const json& nested, const std::vector<int64_t>& shape) {
  std::vector<double> numbers;
  collect(nested, numbers);
  return at::tensor(numbers, at::kDouble).view(shape);
}

class DitGolden : public testing::Test {
 protected:
  DitGolden() {
    std::ifstream(folder_ / "expected.json") >> golden_;
    architecture_ = make_architecture(golden_.at("config"));
    const SafetensorsFile file(folder_ / "model.safetensors");
    for (const TensorInfo& info : architecture_->parameters()) {
      weights_.emplace(info.name, file.read(info.name).to(at::kDouble));
    }
    for (const auto& tensor : file.tensors()) {
      names_.push_back(tensor.name);
    }
  }
  // The features as a picture, put together by hand.
  at::Tensor velocity(const std::string& asked, int64_t things, at::ScalarType dtype) const {
    Inputs inputs;
    inputs.state = tensor_of(golden_.at("state"), {3, 2, 6, 6});
    inputs.time = tensor_of(golden_.at("time"), {3});
    inputs.condition = tensor_of(golden_.at(asked), {3, things}).to(at::kLong);
    Weights cast;
    for (const auto& [name, tensor] : weights_) {
      cast.emplace(name, tensor.to(dtype));
    }
    const at::Tensor features = architecture_->features(cast, inputs, Pooling::kNone).to(at::kDouble);
    at::Tensor picture = at::zeros({3, 2, 6, 6}, at::kDouble);
    for (int64_t n = 0; n < 3; ++n) {
      for (int64_t c = 0; c < 2; ++c) {
        for (int64_t y = 0; y < 6; ++y) {
          for (int64_t x = 0; x < 6; ++x) {
            picture[n][c][y][x] = features[n][y / 2 * 3 + x / 2][(y % 2 * 2 + x % 2) * 2 + c];
          }
        }
      }
    }
    return picture;
  }

  std::filesystem::path folder_ = source_folder() / "tests/golden/dit";
  json golden_;
  std::unique_ptr<Architecture> architecture_;
  Weights weights_;
  std::vector<std::string> names_;
};

TEST_F(DitGolden, velocities_agree) {
  for (const auto& [asked, things] : std::map<std::string, int64_t>{{"one", 1}, {"two", 2}}) {
    const at::Tensor expected = tensor_of(golden_.at("answer_to_" + asked), {3, 2, 6, 6});
    const at::Tensor seen = velocity(asked, things, at::kDouble);
    EXPECT_LE(max_error(seen[0], expected[0]), 1e-10) << asked << ", at time 0";
    // The waves of a time are computed in float32, as in diffusers, so that an angle of up to 1000 is off by the
    // rounding of a frequency, which two processors may round apart.
    EXPECT_LE(max_error(seen, expected), 1e-3) << asked;
    EXPECT_LE(max_error(velocity(asked, things, at::kFloat)[0], expected[0]), 1e-4) << asked;
  }
}

TEST_F(DitGolden, files_have_the_parameters_under_their_names) {
  std::vector<std::string> ours;
  for (const TensorInfo& info : architecture_->parameters()) {
    ours.push_back(info.name);
  }
  EXPECT_THAT(names_, testing::UnorderedElementsAreArray(ours));
}

TEST_F(DitGolden, refuses_what_it_does_not_compute) {
  const auto refusal = [&](const std::string& field, const json& value) {
    json config = golden_.at("config");
    config[field] = value;
    try {
      make_architecture(config);
      return std::string();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_THAT(refusal("norm_type", "layer_norm"), HasSubstr("norm_type"));
  EXPECT_THAT(refusal("out_channels", 4), HasSubstr("features are a velocity"));
  EXPECT_THAT(refusal("sample_size", 7), HasSubstr("a multiple of patch_size"));
  EXPECT_THAT(refusal("attention_head_dim", 3), HasSubstr("a multiple of 4"));
}

}  // namespace
}  // namespace fusegrid::dit_test
