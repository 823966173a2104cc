#include "tasks/shift.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
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

  const at::Tensor whole = shifted_images(text, images, "mnist", 10);
  const at::Tensor parts = concatenate({shifted_images(text, images.narrow(0, 0, 2), "mnist", 10),
                                        shifted_images(text, images.narrow(0, 2, 1), "mnist", 12),
                                        shifted_images(text, images.narrow(0, 3, 4), "mnist", 13)});

  EXPECT_TRUE(whole.equal(parts));
  EXPECT_TRUE(whole.equal(shifted_images(text, images, "mnist", 10)));
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
        distortion(images, shifted_images(GetParam() + "-" + std::to_string(severity), images, "mnist", 0));
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
  shifted_images(GetParam() + "-5", images, "mnist", 0);
  EXPECT_TRUE(images.equal(copy));
}

TEST_P(EveryShift, RejectsOtherSeverities) {
  for (const std::string severity : {"-0", "-6", "-03", "-", "", "-x", "-1x"}) {
    EXPECT_THROW(check_shift(GetParam() + severity), ConfigError) << severity;
  }
}

std::vector<std::string> names_of(bool texts) {
  std::vector<std::string> names;
  for (const std::string& name : shift_registry().names()) {
    if (shifts_tokens(name + "-1") == texts) {
      names.push_back(name);
    }
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Shifts, EveryShift, testing::ValuesIn(names_of(false)));

// Rows of words of a table with single letters and some longer tokens.
TokenTable letters() {
  TokenTable table;
  table.entries = {"<pad>", "</s>", " "};
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    table.entries.push_back(std::string(1, letter));
    table.entries.push_back(std::string(" ") + letter);
  }
  for (const std::string entry : {" the", "the", " cat", "at", "\u00e4"}) {
    table.entries.push_back(entry);
  }
  table.special = {0, 1};
  return table;
}

// Texts, each with the special token at its end.
TokenRows rows_of(const std::vector<std::string>& texts, const TokenTable& table) {
  const TokenWriter writer(table);
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  for (const std::string& text : texts) {
    const auto written = writer.write(" " + text).value();
    ids.insert(ids.end(), written.begin(), written.end());
    ids.push_back(1);
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  return {at::tensor(ids, at::kInt), at::tensor(offsets, at::kLong)};
}

std::vector<std::string> texts_of(const TokenRows& rows, const TokenTable& table) {
  std::vector<std::string> texts;
  for (int64_t i = 0; i < rows.size(); ++i) {
    texts.push_back(table.text(rows.row(i)));
  }
  return texts;
}

std::vector<std::string> some_texts(size_t count) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    texts.push_back("the cat sat on the mat and ran off with a big dog " +
                    std::string(1, static_cast<char>('a' + i % 26)));
  }
  return texts;
}

class EveryTextShift : public testing::TestWithParam<std::string> {};

TEST_P(EveryTextShift, GivesAnExampleItsOwnNumbers) {
  const TokenTable table = letters();
  const auto texts = some_texts(9);
  const auto whole = texts_of(shifted_tokens(GetParam() + "-3", rows_of(texts, table), "news", table), table);
  const std::vector<std::string> first(texts.begin(), texts.begin() + 4);
  const auto part = texts_of(shifted_tokens(GetParam() + "-3", rows_of(first, table), "news", table), table);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
  EXPECT_NE(whole, texts_of(shifted_tokens(GetParam() + "-3", rows_of(texts, table), "other", table), table));
  EXPECT_EQ(texts, texts_of(shifted_tokens("clean", rows_of(texts, table), "news", table), table));
}

TEST_P(EveryTextShift, ChangesMoreWithSeverity) {
  const TokenTable table = letters();
  const auto texts = some_texts(60);
  size_t before = 0;
  for (int severity = 1; severity <= 5; ++severity) {
    const auto now = texts_of(
        shifted_tokens(GetParam() + "-" + std::to_string(severity), rows_of(texts, table), "news", table),
        table);
    size_t changed = 0;  // words that are not in their place
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto clean = split(texts[i], ' ');
      const auto shifted = split(now[i], ' ');
      changed += clean.size() - shifted.size();
      for (size_t w = 0; clean.size() == shifted.size() && w < clean.size(); ++w) {
        changed += clean[w] != shifted[w] ? 1 : 0;
      }
    }
    EXPECT_GT(changed, before) << severity;
    before = changed;
  }
}

TEST_P(EveryTextShift, KeepsSpecialTokensAndAWord) {
  const TokenTable table = letters();
  const TokenRows rows =
      shifted_tokens(GetParam() + "-5", rows_of({"a", "the cat", "x y z"}, table), "t", table);
  for (int64_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows.row(i).back(), 1);
    EXPECT_GE(rows.row(i).size(), 2U);
  }
}

INSTANTIATE_TEST_SUITE_P(TextShifts, EveryTextShift, testing::ValuesIn(names_of(true)));

TEST(Shift, DroppedWordsLeaveTheirShare) {
  const TokenTable table = letters();
  const auto texts = some_texts(200);
  size_t left = 0;
  for (const std::string& text :
       texts_of(shifted_tokens("dropped_words-4", rows_of(texts, table), "news", table), table)) {
    left += split(text, ' ').size();
  }
  EXPECT_NEAR(static_cast<double>(left) / (200 * 14), 0.7, 0.03);
}

TEST(Shift, TyposSwapNeighbours) {
  const TokenTable table = letters();
  std::vector<std::string> texts(40, "the cat");
  texts.emplace_back("a b c d e f g h i j");  // so that there is room for words in single letters
  int64_t swapped = 0;
  auto shifted = texts_of(shifted_tokens("typos-5", rows_of(texts, table), "news", table), table);
  EXPECT_EQ(shifted.back(), texts.back()) << "words of one letter";
  shifted.pop_back();
  for (const std::string& text : shifted) {
    for (const std::string& word : split(text, ' ')) {
      const bool known =
          word == "the" || word == "hte" || word == "teh" || word == "cat" || word == "act" || word == "cta";
      EXPECT_TRUE(known) << word;
      swapped += word != "the" && word != "cat" ? 1 : 0;
    }
  }
  EXPECT_NEAR(static_cast<double>(swapped) / 80, 0.6, 0.15);
}

// Tokens of one letter are more than those of the word: the longest row has no room for them.
TEST(Shift, TyposMakeNoRowLongerThanTheLongest) {
  const TokenTable table = letters();
  const std::vector<std::string> texts(30, "the the the");
  const TokenRows rows = shifted_tokens("typos-5", rows_of(texts, table), "news", table);
  for (int64_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE(rows.row(i).size(), 4U);
  }
}

TEST(Shift, AllAreRegistered) {
  EXPECT_EQ(join(names_of(false), " "),
            "brightness contrast fog gaussian_blur gaussian_noise impulse_noise jpeg motion_blur pixelate "
            "shot_noise");
  EXPECT_EQ(join(names_of(true), " "), "dropped_words typos");
}

TEST(Shift, CleanReturnsTheImages) {
  const at::Tensor images = some_images(1);
  EXPECT_TRUE(shifted_images("clean", images, "mnist", 0).is_same(images));
  EXPECT_NO_THROW(check_shift("clean"));
}

TEST(Shift, NoiseDiffersByExampleTaskAndSeverity) {
  const at::Tensor images = some_images(1).fill_(128);
  const at::Tensor first = shifted_images("gaussian_noise-1", images, "mnist", 0);
  EXPECT_FALSE(first.equal(shifted_images("gaussian_noise-1", images, "mnist", 1)));
  EXPECT_FALSE(first.equal(shifted_images("gaussian_noise-1", images, "fashion", 0)));
  EXPECT_FALSE(first.equal(shifted_images("gaussian_noise-2", images, "mnist", 0)));
}

TEST(Shift, GaussianNoiseHasItsDeviation) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor noise =
      (shifted_images("gaussian_noise-2", images, "mnist", 0).to(at::kDouble) - 128) / 255;
  EXPECT_NEAR(noise.std().item<double>(), 0.12, 0.002);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.002);
}

TEST(Shift, ImpulseNoiseHitsItsShareInAllChannels) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor hit = shifted_images("impulse_noise-5", images, "mnist", 0).ne(128);
  EXPECT_NEAR(hit.to(at::kDouble).mean().item<double>(), 0.25, 0.01);
  EXPECT_TRUE(hit.select(1, 0).equal(hit.select(1, 2)));
}

TEST(Shift, MotionBlurOfALine) {
  at::Tensor images = some_images(1).zero_();
  images.select(3, 10).fill_(90);
  const at::Tensor blurred = shifted_images("motion_blur-2", images, "mnist", 0);
  EXPECT_TRUE(blurred.narrow(3, 9, 3).eq(30).all().item<bool>());
  EXPECT_EQ(blurred.sum().item<int64_t>(), 3 * 28 * 3 * 30);
}

TEST(Shift, ContrastKeepsTheMean) {
  at::Tensor images = some_images(1).fill_(100);
  images.narrow(3, 0, 14).fill_(200);
  const at::Tensor flat = shifted_images("contrast-3", images, "mnist", 0);
  EXPECT_EQ(flat.max().item<int64_t>(), 165);
  EXPECT_EQ(flat.min().item<int64_t>(), 135);
}

TEST(Shift, BrightnessIsAdded) {
  const at::Tensor images = some_images(1).fill_(100);
  EXPECT_TRUE(shifted_images("brightness-2", images, "mnist", 0).eq(151).all().item<bool>());
  EXPECT_TRUE(shifted_images("brightness-5", images.fill_(200), "mnist", 0).eq(255).all().item<bool>());
}

// A Poisson count of mean m has variance m: of light of 12 quanta, half of white has a deviation of sqrt(6) / 12.
TEST(Shift, ShotNoiseCountsQuanta) {
  const at::Tensor images = some_images(32).fill_(128);
  const at::Tensor noisy = shifted_images("shot_noise-3", images, "mnist", 0).to(at::kDouble) / 255;
  EXPECT_NEAR(noisy.mean().item<double>(), 128.0 / 255, 0.003);
  EXPECT_NEAR(noisy.std().item<double>(), std::sqrt(12 * 128.0 / 255) / 12, 0.006)
      << "less what white cuts off";
  EXPECT_EQ(shifted_images("shot_noise-5", images.zero_(), "mnist", 0).max().item<int64_t>(), 0);
}

TEST(Shift, GaussianBlurOfAPointKeepsItsLight) {
  at::Tensor images = some_images(1).zero_();
  images.select(3, 14).select(2, 10).fill_(255);
  const at::Tensor blurred = shifted_images("gaussian_blur-2", images, "mnist", 0).to(at::kLong);
  EXPECT_TRUE(blurred.equal(blurred.permute({0, 1, 3, 2}).roll({-4, 4}, {2, 3}))) << "round";
  EXPECT_NEAR(static_cast<double>(blurred.sum().item<int64_t>()), 3 * 255, 12) << "but for rounding";
  // exp(-1 / (2 0.8^2)) of the middle
  const double middle = blurred[0][0][10][14].item<double>();
  EXPECT_NEAR(blurred[0][0][10][15].item<double>() / middle, std::exp(-1 / 1.28), 0.01);
}

TEST(Shift, FogIsBrightestWhereTheCloudIs) {
  const at::Tensor images = some_images(4).fill_(100);
  const at::Tensor foggy = shifted_images("fog-3", images, "mnist", 0);
  EXPECT_EQ(foggy.max().item<int64_t>(), 100) << "scaled back";
  EXPECT_LT(foggy.min().item<int64_t>(), 40) << "where there is no cloud";
  EXPECT_TRUE(foggy.select(1, 0).equal(foggy.select(1, 2))) << "grey";
  EXPECT_FALSE(foggy[0].equal(foggy[1])) << "each example has a cloud of its own";
}

TEST(Shift, PixelsAreSquareWhateverTheImage) {
  const at::Tensor tall = at::arange(56, at::kByte).view({1, 1, 56, 1}).expand({1, 3, 56, 28}).contiguous();
  const at::Tensor shown = shifted_images("pixelate-2", tall, "mnist", 0);
  EXPECT_TRUE(shown.slice(2, 0, 56, 2).equal(shown.slice(2, 1, 56, 2))) << "of two rows one";
  EXPECT_FALSE(shown.select(2, 1).equal(shown.select(2, 2)));
}

// At quality 50 the steps are those of the standard's table: 16 of the mean's coefficient, 8 times the mean, so that a
// flat image is off by 1 at most.
TEST(Shift, JpegRoundsCosines) {
  at::Tensor images = some_images(1).fill_(77);
  EXPECT_TRUE(
      (shifted_images("jpeg-1", images, "mnist", 0).to(at::kLong) - 77).abs().le(1).all().item<bool>());
  // (77 - 128) * 8 = -408; at quality 5 the step is 160: -480, or 60 below 128
  EXPECT_TRUE(shifted_images("jpeg-5", images, "mnist", 0).eq(68).all().item<bool>());
  // lines of one pixel are the finest cosines, whose steps are the largest
  images.slice(3, 0, 28, 2).fill_(97);
  const at::Tensor lines = shifted_images("jpeg-5", images, "mnist", 0);
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
