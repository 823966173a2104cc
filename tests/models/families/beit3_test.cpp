// Golden values: tests/golden/make_beit3.py (a definition of its own, row by row). What holds for every family:
// tests/models/families_test.cpp.
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/philox.h"
#include "models/readout.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::beit3_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr int64_t kImageRows = 5;  // of the class and of 2 x 2 patches

at::Tensor drawn(const std::string& name, const std::vector<int64_t>& shape) {
  const int64_t count = c10::multiply_integers(shape);
  return (uniform(derive_key(7, name), 0, 0, count).to(at::kDouble) * 2 - 1).view(shape);
}

at::Tensor whole(const std::vector<int64_t>& numbers, const std::vector<int64_t>& shape) {
  return at::tensor(numbers, at::kLong).view(shape);
}

class Beit3Golden : public testing::TestWithParam<const char*> {
 protected:
  Beit3Golden() {
    for (const TensorInfo& info : architecture_->parameters()) {
      weights_.emplace(info.name, drawn(info.name, info.shape));
    }
    asked_.images = drawn("images", {2, 3, 7, 7});
    asked_.tokens = whole({1, 5, 7, 2, 0, 0, 0, 0, 1, 9, 3, 10, 4, 2, 0, 0}, {2, 8});
    asked_.lengths = whole({4, 6}, {2});
    pair_ = asked_;
    pair_.pairs = true;
    captioned_.images = asked_.images;
    captioned_.tokens = whole({1, 4, 1, 0}, {2, 2});
    captioned_.lengths = whole({2, 1}, {2});
    captioned_.answer = whole({8, 6, 2, 9, 3, 0}, {2, 3});
    captioned_.answer_lengths = whole({3, 2}, {2});
  }
  Weights in(at::ScalarType dtype) const {
    Weights cast;
    for (const auto& [name, tensor] : weights_) {
      cast.emplace(name, tensor.to(dtype));
    }
    return cast;
  }
  void expect_answers(at::ScalarType dtype, double tolerance) const {
    const Weights weights = in(dtype);
    const auto features = [&](const Inputs& inputs, Pooling pooling) {
      return architecture_->features(weights, inputs, pooling);
    };
    const Inputs image{asked_.images, {}, {}}, text{{}, asked_.tokens, asked_.lengths};
    EXPECT_LE(max_error(features(asked_, Pooling::kFirst), expected_.read("question")), tolerance);
    EXPECT_LE(max_error(features(pair_, Pooling::kFirst), expected_.read("pair")), tolerance);
    EXPECT_LE(max_error(features(image, Pooling::kFirst), expected_.read("image")), tolerance);
    EXPECT_LE(max_error(features(text, Pooling::kFirst), expected_.read("text")), tolerance);
    const auto head = own_readout(*architecture_->own_head(), 8, 11);
    const at::Tensor counting = captioned_.counting(Rows::kAnswer).unsqueeze(2);
    const at::Tensor logits = (*head)(weights, features(captioned_, Pooling::kNone)) * counting;
    EXPECT_LE(max_error(logits, expected_.read("caption")), tolerance);
  }

  SafetensorsFile expected_{source_folder() / "tests/golden/beit3" /
                            (std::string(GetParam()) + ".safetensors")};
  json config_ = json::parse(expected_.metadata().at("config"));
  std::unique_ptr<const Architecture> architecture_ = make_architecture(config_);
  Weights weights_;
  Inputs asked_, pair_, captioned_;
};

TEST_P(Beit3Golden, questions_pairs_and_captions_agree) {
  expect_answers(at::kDouble, 1e-12);
  expect_answers(at::kFloat, 2e-5);
}

// Of pairs each sense has the features that it has alone, although both are one sequence.
TEST_P(Beit3Golden, pairs_read_each_other_in_no_row) {
  const at::Tensor both = architecture_->features(weights_, pair_, Pooling::kMean);
  const Inputs image{pair_.images, {}, {}}, text{{}, pair_.tokens, pair_.lengths};
  EXPECT_LE(max_error(both.select(1, 0), architecture_->features(weights_, image, Pooling::kMean)), 1e-12);
  EXPECT_LE(max_error(both.select(1, 1), architecture_->features(weights_, text, Pooling::kMean)), 1e-12);
  EXPECT_THROW(architecture_->features(weights_, pair_, Pooling::kNone), ConfigError);
}

// A row of an answer does not change with what is behind it.
TEST_P(Beit3Golden, answers_grow_token_by_token) {
  const at::Tensor whole_answer = architecture_->features(weights_, captioned_, Pooling::kNone);
  for (int64_t length = 0; length <= 3; ++length) {
    Inputs begun = captioned_;
    begun.answer = captioned_.answer.narrow(1, 0, length);
    begun.answer_lengths = captioned_.answer_lengths.clamp_max(length);
    const at::Tensor rows = architecture_->features(weights_, begun, Pooling::kNone);
    EXPECT_LE(max_error(rows, whole_answer.narrow(1, 0, length + 1)), 1e-12) << length;
  }
}

// With a memory a pass computes the new rows alone.
TEST_P(Beit3Golden, a_memory_gives_the_rows_of_a_pass_without_one) {
  const at::Tensor whole_answer = architecture_->features(weights_, captioned_, Pooling::kNone);
  Memory memory;
  int64_t rows = 0;
  for (const int64_t length : {0, 1, 3}) {
    Inputs begun = captioned_;
    begun.answer = captioned_.answer.narrow(1, 0, length);
    begun.answer_lengths = captioned_.answer_lengths.clamp_max(length);
    const at::Tensor fresh = architecture_->features(weights_, begun, Pooling::kNone, {.memory = &memory});
    ASSERT_EQ(fresh.size(1), length + 1 - rows);
    const at::Tensor counting = begun.counting(Rows::kAnswer).narrow(1, rows, fresh.size(1)).unsqueeze(2);
    EXPECT_LE(max_error(fresh * counting, whole_answer.narrow(1, rows, fresh.size(1)) * counting), 1e-12);
    rows = length + 1;
  }
}

// What RegMean sums up: a part of one sense has its rows alone, and of texts those that count.
TEST_P(Beit3Golden, layers_have_the_rows_of_their_sense) {
  for (const Inputs& inputs : {asked_, pair_, captioned_}) {
    std::map<std::string, int64_t> rows;
    const Pass counting{
        [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          const at::Tensor counts = counting_rows(layer, inputs, x);
          rows[layer.name] = counts.defined() ? counts.sum().item<int64_t>() : x.numel() / x.size(-1);
          return at::linear(x, weight, bias);
        }};
    architecture_->features(weights_, inputs, inputs.answer.defined() ? Pooling::kNone : Pooling::kFirst,
                            counting);
    const int64_t of_text = inputs.answer.defined() ? 3 + 5 : 4 + 6;
    const std::string block = "beit3.encoder.layers.1.";
    EXPECT_EQ(rows.at(block + "ffn.A.fc1"), 2 * kImageRows);
    EXPECT_EQ(rows.at(block + "ffn.B.fc2"), of_text);
    if (config_.value("shared_attention", false)) {
      EXPECT_EQ(rows.at(block + "self_attn.q_proj"), 2 * kImageRows + of_text);
    } else {
      EXPECT_EQ(rows.at(block + "self_attn.q_proj.A"), 2 * kImageRows);
      EXPECT_EQ(rows.at(block + "self_attn.q_proj.B"), of_text);
    }
    EXPECT_EQ(rows.contains("vision_head"), inputs.pairs);
  }
}

TEST_P(Beit3Golden, a_text_alone_is_answered_too) {
  Inputs inputs = captioned_;
  inputs.images = at::Tensor();
  const at::Tensor features = architecture_->features(weights_, inputs, Pooling::kNone);
  EXPECT_EQ(features.sizes().vec(), (std::vector<int64_t>{2, 4, 8}));
}

TEST_P(Beit3Golden, unsupported_configurations_name_the_field) {
  const std::vector<std::pair<std::string, json>> cases{{"activation_fn", "swish"},
                                                        {"encoder_attention_heads", 3},
                                                        {"max_source_positions", 2},
                                                        {"patch_size", 8},
                                                        {"multiway", false},
                                                        {"rel_pos_buckets", 32},
                                                        {"in_chans", 1},
                                                        {"subln", "yes"}};
  for (const auto& [field, value] : cases) {
    json config = config_;
    config[field] = value;
    try {
      make_architecture(config);
      FAIL() << "accepted " << field;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(field));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Beit3Golden, testing::Values("of_each_sense", "shared"),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace fusegrid::beit3_test
