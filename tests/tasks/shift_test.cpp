#include "tasks/shift.h"

#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

// Independent pixels: a texture that every shift must change.
at::Tensor some_images(int64_t count) {
  const at::Tensor noise = uniform(derive_key(0, "images"), 0, 0, count * 3 * 28 * 28);
  return (noise.view({count, 3, 28, 28}) * 255).to(at::kByte);
}

double distortion(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).square().mean().item<double>();
}

class EveryShift : public testing::TestWithParam<std::string> {};

TEST_P(EveryShift, DoesNotDependOnTheBatch) {
  const at::Tensor images = some_images(7);
  const std::string text = GetParam() + "-3";

  const at::Tensor whole = apply_shift(text, images, "mnist", 10);
  const at::Tensor parts = concatenate({apply_shift(text, images.narrow(0, 0, 2), "mnist", 10),
                                        apply_shift(text, images.narrow(0, 2, 1), "mnist", 12),
                                        apply_shift(text, images.narrow(0, 3, 4), "mnist", 13)});

  EXPECT_TRUE(whole.equal(parts));
  EXPECT_TRUE(whole.equal(apply_shift(text, images, "mnist", 10)));
  EXPECT_EQ(whole.scalar_type(), at::kByte);
  EXPECT_EQ(whole.sizes(), images.sizes());
}

// Squared error is no exact measure of severity: enlarging 14 pixels to 28 is aligned, enlarging 20 is not.
// So a step may lose a tenth, but the strongest severity must be well above the weakest.
TEST_P(EveryShift, DistortsMoreWithSeverity) {
  const at::Tensor images = some_images(16);
  double before = 0;
  std::vector<double> distortions;
  for (int severity = 1; severity <= 5; ++severity) {
    const double now =
        distortion(images, apply_shift(GetParam() + "-" + std::to_string(severity), images, "mnist", 0));
    EXPECT_GT(now, 0.9 * before) << "severity " << severity;
    before = now;
    distortions.push_back(now);
  }
  EXPECT_GT(distortions.front(), 0);
  EXPECT_GT(distortions.back(), 1.15 * distortions.front());
}

TEST_P(EveryShift, LeavesItsInputAlone) {
  const at::Tensor images = some_images(2);
  const at::Tensor copy = images.clone();
  apply_shift(GetParam() + "-5", images, "mnist", 0);
  EXPECT_TRUE(images.equal(copy));
}

TEST_P(EveryShift, RejectsOtherSeverities) {
  for (const std::string severity : {"-0", "-6", "-03", "-", "", "-x", "-1x"}) {
    EXPECT_THROW(check_shift(GetParam() + severity), ConfigError) << severity;
  }
}

INSTANTIATE_TEST_SUITE_P(Shifts, EveryShift, testing::ValuesIn(shift_registry().names()));

TEST(Shift, AllTenAreRegistered) {
  EXPECT_EQ(join(shift_registry().names(), " "),
            "brightness contrast fog gaussian_blur gaussian_noise impulse_noise jpeg motion_blur pixelate "
            "shot_noise");
}

TEST(Shift, CleanReturnsTheImages) {
  const at::Tensor images = some_images(1);
  EXPECT_TRUE(apply_shift("clean", images, "mnist", 0).is_same(images));
  EXPECT_NO_THROW(check_shift("clean"));
}

TEST(Shift, NoiseDiffersByExampleTaskAndSeverity) {
  const at::Tensor images = some_images(1).fill_(128);
  const at::Tensor first = apply_shift("gaussian_noise-1", images, "mnist", 0);
  EXPECT_FALSE(first.equal(apply_shift("gaussian_noise-1", images, "mnist", 1)));
  EXPECT_FALSE(first.equal(apply_shift("gaussian_noise-1", images, "fashion", 0)));
  EXPECT_FALSE(first.equal(apply_shift("gaussian_noise-2", images, "mnist", 0)));
}

TEST(Shift, GaussianNoiseHasItsDeviation) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor noise = (apply_shift("gaussian_noise-2", images, "mnist", 0).to(at::kDouble) - 128) / 255;
  EXPECT_NEAR(noise.std().item<double>(), 0.12, 0.002);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.002);
}

TEST(Shift, ImpulseNoiseHitsItsShareInAllChannels) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor hit = apply_shift("impulse_noise-5", images, "mnist", 0).ne(128);
  EXPECT_NEAR(hit.to(at::kDouble).mean().item<double>(), 0.25, 0.01);
  EXPECT_TRUE(hit.select(1, 0).equal(hit.select(1, 2)));
}

TEST(Shift, MotionBlurOfALine) {
  at::Tensor images = some_images(1).zero_();
  images.select(3, 10).fill_(90);
  const at::Tensor blurred = apply_shift("motion_blur-2", images, "mnist", 0);
  EXPECT_TRUE(blurred.narrow(3, 9, 3).eq(30).all().item<bool>());
  EXPECT_EQ(blurred.sum().item<int64_t>(), 3 * 28 * 3 * 30);
}

TEST(Shift, ContrastKeepsTheMean) {
  at::Tensor images = some_images(1).fill_(100);
  images.narrow(3, 0, 14).fill_(200);
  const at::Tensor flat = apply_shift("contrast-3", images, "mnist", 0);
  EXPECT_EQ(flat.max().item<int64_t>(), 165);
  EXPECT_EQ(flat.min().item<int64_t>(), 135);
}

TEST(Shift, BrightnessIsAdded) {
  const at::Tensor images = some_images(1).fill_(100);
  EXPECT_TRUE(apply_shift("brightness-2", images, "mnist", 0).eq(151).all().item<bool>());
  EXPECT_TRUE(apply_shift("brightness-5", images.fill_(200), "mnist", 0).eq(255).all().item<bool>());
}

// A Poisson count of mean m has variance m: of light of 12 quanta, half of white has a deviation of sqrt(6) / 12.
TEST(Shift, ShotNoiseCountsQuanta) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor noisy = apply_shift("shot_noise-3", images, "mnist", 0).to(at::kDouble) / 255;
  EXPECT_NEAR(noisy.mean().item<double>(), 128.0 / 255, 0.003);
  EXPECT_NEAR(noisy.std().item<double>(), std::sqrt(12 * 128.0 / 255) / 12, 0.006)
      << "less what white cuts off";
  EXPECT_EQ(apply_shift("shot_noise-5", images.zero_(), "mnist", 0).max().item<int64_t>(), 0);
}

TEST(Shift, GaussianBlurOfAPointKeepsItsLight) {
  at::Tensor images = some_images(1).zero_();
  images.select(3, 14).select(2, 10).fill_(255);
  const at::Tensor blurred = apply_shift("gaussian_blur-2", images, "mnist", 0).to(at::kLong);
  EXPECT_TRUE(blurred.equal(blurred.permute({0, 1, 3, 2}).roll({-4, 4}, {2, 3}))) << "round";
  EXPECT_NEAR(static_cast<double>(blurred.sum().item<int64_t>()), 3 * 255, 12) << "but for rounding";
  // exp(-1 / (2 0.8^2)) of the middle
  const double middle = blurred[0][0][10][14].item<double>();
  EXPECT_NEAR(blurred[0][0][10][15].item<double>() / middle, std::exp(-1 / 1.28), 0.01);
}

TEST(Shift, FogIsBrightestWhereTheCloudIs) {
  const at::Tensor images = some_images(4).fill_(100);
  const at::Tensor foggy = apply_shift("fog-3", images, "mnist", 0);
  EXPECT_EQ(foggy.max().item<int64_t>(), 100) << "scaled back";
  EXPECT_LT(foggy.min().item<int64_t>(), 40) << "where there is no cloud";
  EXPECT_TRUE(foggy.select(1, 0).equal(foggy.select(1, 2))) << "grey";
  EXPECT_FALSE(foggy[0].equal(foggy[1])) << "each example has a cloud of its own";
}

// At quality 50 the steps are those of the standard's table: 16 of the mean's coefficient, 8 times the mean, so that a
// flat image is off by 1 at most.
TEST(Shift, JpegRoundsCosines) {
  at::Tensor images = some_images(1).fill_(77);
  EXPECT_TRUE((apply_shift("jpeg-1", images, "mnist", 0).to(at::kLong) - 77).abs().le(1).all().item<bool>());
  // (77 - 128) * 8 = -408; at quality 5 the step is 160: -480, or 60 below 128
  EXPECT_TRUE(apply_shift("jpeg-5", images, "mnist", 0).eq(68).all().item<bool>());
  // lines of one pixel are the finest cosines, whose steps are the largest
  images.slice(3, 0, 28, 2).fill_(97);
  const at::Tensor lines = apply_shift("jpeg-5", images, "mnist", 0);
  EXPECT_LE((lines.max() - lines.min()).item<int64_t>(), 1);
}

TEST(Shift, UnknownNamesGetAHint) {
  try {
    check_shift("gausian_noise-1");
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'gaussian_noise'?"));
    EXPECT_THAT(error.what(), HasSubstr("motion_blur"));
  }
}

}  // namespace
}  // namespace fusegrid
