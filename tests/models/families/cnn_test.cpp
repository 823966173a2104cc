// What holds for every family: tests/models/families_test.cpp.
#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/architecture.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::cnn_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json two_stages() {
  return {{"model_type", "cnn"}, {"image_size", 5}, {"hidden_sizes", {2, 3}}, {"depths", {2, 1}}};
}

// One image [channels, side, side] as nested loops see it.
using Image = std::vector<std::vector<std::vector<double>>>;

Image zeros_of(int64_t channels, int64_t side) {
  const auto n = static_cast<size_t>(side);
  return Image(static_cast<size_t>(channels), std::vector<std::vector<double>>(n, std::vector<double>(n, 0)));
}

double at_or_zero(const Image& image, size_t channel, int64_t y, int64_t x) {
  const auto side = static_cast<int64_t>(image[channel].size());
  const bool inside = y >= 0 && x >= 0 && y < side && x < side;
  return inside ? image[channel][static_cast<size_t>(y)][static_cast<size_t>(x)] : 0;
}

Image convolved_with_relu(const Image& image, const at::Tensor& kernel, const at::Tensor& bias) {
  const auto side = static_cast<int64_t>(image[0].size());
  Image result = zeros_of(kernel.size(0), side);
  for (int64_t out = 0; out < kernel.size(0); ++out) {
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x) {
        double sum = bias[out].item<double>();
        for (int64_t in = 0; in < kernel.size(1); ++in) {
          for (int64_t dy = 0; dy < 3; ++dy) {
            for (int64_t dx = 0; dx < 3; ++dx) {
              sum += kernel[out][in][dy][dx].item<double>() *
                     at_or_zero(image, static_cast<size_t>(in), y + dy - 1, x + dx - 1);
            }
          }
        }
        result[static_cast<size_t>(out)][static_cast<size_t>(y)][static_cast<size_t>(x)] = std::max(sum, 0.0);
      }
    }
  }
  return result;
}

Image halved(const Image& image) {
  Image result = zeros_of(static_cast<int64_t>(image.size()), static_cast<int64_t>(image[0].size() / 2));
  for (size_t c = 0; c < image.size(); ++c) {
    for (size_t y = 0; y < result[c].size(); ++y) {
      for (size_t x = 0; x < result[c].size(); ++x) {
        result[c][y][x] = std::max({image[c][2 * y][2 * x], image[c][2 * y][2 * x + 1],
                                    image[c][2 * y + 1][2 * x], image[c][2 * y + 1][2 * x + 1]});
      }
    }
  }
  return result;
}

TEST(Cnn, AgreesWithLoops) {
  json config = two_stages();
  config["image_size"] = 9;  // 9 -> 4 -> 2: the mean is over 4 positions
  const auto architecture = make_architecture(config);
  const Weights weights = random_weights(*architecture);
  const Inputs inputs = random_images(1, 9);
  Image image = zeros_of(3, 9);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t y = 0; y < 9; ++y) {
      for (size_t x = 0; x < 9; ++x) {
        image[c][y][x] =
            inputs.images[0][static_cast<int64_t>(c)][static_cast<int64_t>(y)][static_cast<int64_t>(x)]
                .item<double>();
      }
    }
  }
  const auto layer = [&](const Image& of, const std::string& name) {
    return convolved_with_relu(of, weights.at(name + ".weight"), weights.at(name + ".bias"));
  };

  image = halved(layer(layer(image, "layers.0"), "layers.1"));
  image = halved(layer(image, "layers.2"));

  const at::Tensor features = architecture->features(weights, inputs, Pooling::kMean, {});
  ASSERT_EQ(features.sizes().vec(), (std::vector<int64_t>{1, 3}));
  for (size_t c = 0; c < 3; ++c) {
    ASSERT_EQ(image[c].size(), 2U);
    const double mean = (image[c][0][0] + image[c][0][1] + image[c][1][0] + image[c][1][1]) / 4;
    EXPECT_NEAR(features[0][static_cast<int64_t>(c)].item<double>(), mean, 1e-12);
  }
}

TEST(Cnn, AxisGroupsAreTheChannelsOfEachConvolution) {
  const auto groups = make_architecture(two_stages())->axis_groups();
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].size, 2);
  EXPECT_EQ(groups[1].size, 2);
  EXPECT_EQ(groups[1].axes[2].tensor, "layers.2.weight");
  EXPECT_EQ(groups[1].axes[2].axis, 1);
  EXPECT_EQ(groups[2].size, 3);
  EXPECT_TRUE(groups[2].features);
}

TEST(Cnn, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{
      {"image_size", 3}, {"image_size", nullptr}, {"hidden_sizes", "2"}, {"hidden_sizes", {2, -3}},
      {"depths", {2}},   {"depths", {2, 0}},      {"num_channels", 2},
      {"num_labels", -1}};
  for (const auto& [field, value] : cases) {
    json config = two_stages();
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
  EXPECT_THAT(message_of<ConfigError>([] {
                make_architecture({{"model_type", "cnn"}});
              }),
              HasSubstr("missing"));
}

}  // namespace
}  // namespace fusegrid::cnn_test
