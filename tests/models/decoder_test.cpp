// Decoders against transformers (tests/golden/make_decoder.py), with and without a memory. What holds for every family:
// tests/models/families_test.cpp.
#include "models/decoder.h"

#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "checkpoint/safetensors.h"
#include "core/concatenate.h"
#include "models/precision.h"
#include "models/readout.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::decoder_test {
namespace {

using nlohmann::json;

class DecoderGolden : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path path = source_folder() / "tests/golden/decoder" / GetParam();
  HfFolder folder{path};
  SafetensorsFile expected{path / "expected.safetensors"};
  std::unique_ptr<Architecture> architecture = make_architecture(folder.config());
  Weights weights = read_parameters(*architecture, folder);
  Inputs inputs{{}, expected.read("tokens"), expected.read("lengths")};

  // Zero at tokens that fill rows up, as the golden values are.
  at::Tensor counting(const at::Tensor& x) const { return x * inputs.counting().unsqueeze(2); }

  at::Tensor logits(const Inputs& of, Memory* memory = nullptr) const {
    const auto readout = own_readout(architecture->own_head().value(), architecture->feature_size(),
                                     architecture->input().vocabulary);
    return (*readout)(weights, architecture->features(weights, of, Pooling::kNone, {{}, memory}));
  }

  // With the first `width` tokens of the answer, of which each row has as many as it should, or all.
  Inputs answered(const at::Tensor& answer, int64_t width, const at::Tensor& lengths = {}) const {
    Inputs all = inputs;
    all.answer = answer.narrow(1, 0, width);
    all.answer_lengths = at::full_like(inputs.lengths, width);
    if (lengths.defined()) {
      all.answer_lengths = at::minimum(all.answer_lengths, lengths);
    }
    return all;
  }

  at::Tensor greedy(int64_t steps, Memory* memory) const {
    at::Tensor answer = at::empty({inputs.size(), 0}, at::kLong);
    for (int64_t step = 0; step < steps; ++step) {
      const at::Tensor rows = logits(answered(answer, step), memory);
      answer = concatenate({answer, at::argmax(rows.select(1, rows.size(1) - 1), 1, true)}, 1);
    }
    return answer;
  }
};

TEST_P(DecoderGolden, HiddenStatesAgree) {
  const at::Tensor features = architecture->features(weights, inputs, Pooling::kNone);
  EXPECT_LE(max_error(counting(features), expected.read("hidden")), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGolden,
                         testing::Values("gpt2", "gpt2_classifier", "llama", "llama_scaled", "mistral",
                                         "mixtral", "qwen2", "qwen2_classifier"));

class DecoderGoldenExact : public DecoderGolden {};

TEST_P(DecoderGoldenExact, InDoublePrecisionHiddenStatesAgreeToRounding) {
  for (auto& [name, tensor] : weights) {
    tensor = tensor.to(at::kDouble);
  }
  const at::Tensor features = architecture->features(weights, inputs, Pooling::kNone);
  EXPECT_LE(max_error(counting(features), expected.read("hidden_float64")), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGoldenExact,
                         testing::Values("gpt2", "gpt2_classifier", "llama", "mistral", "qwen2",
                                         "qwen2_classifier"));

class DecoderGoldenClassifier : public DecoderGolden {};

TEST_P(DecoderGoldenClassifier, ScoresAreThoseOfTheLastTokenThatCounts) {
  EXPECT_FALSE(architecture->own_head());
  const auto readout = affine_readout(folder.read("score.weight"), at::zeros({3}), Pooling::kLast);
  const at::Tensor features = architecture->features(weights, inputs, readout->pooling());
  EXPECT_LE(max_error((*readout)(weights, features), expected.read("scores")), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGoldenClassifier,
                         testing::Values("gpt2_classifier", "qwen2_classifier"));

class DecoderGoldenAnswer : public DecoderGolden {
 protected:
  at::Tensor answer = expected.read("answer");
};

TEST_P(DecoderGoldenAnswer, LogitsOfAnAnswerAreThoseOfItsRowAlone) {
  EXPECT_LE(max_error(logits(answered(answer, answer.size(1))), expected.read("answer_logits")), 1e-5);
}

TEST_P(DecoderGoldenAnswer, GreedyAnswersAreTheSame) {
  const at::Tensor wanted = expected.read("greedy");
  Memory memory;
  EXPECT_TRUE(greedy(wanted.size(1), nullptr).equal(wanted));
  EXPECT_TRUE(greedy(wanted.size(1), &memory).equal(wanted));
}

// Whatever the answer is when the memory is first used, and by how much it grows.
TEST_P(DecoderGoldenAnswer, WithAMemoryRowsAreThoseComputedAgain) {
  const at::Tensor all = logits(answered(answer, answer.size(1)));
  for (const std::vector<int64_t>& widths : {std::vector<int64_t>{0, 1, 2, 3, 4, 5}, {2, 3, 5}, {0, 4}}) {
    Memory memory;
    int64_t known = 0;
    for (const int64_t width : widths) {
      const at::Tensor rows = logits(answered(answer, width), &memory);
      EXPECT_EQ(memory.tokens, width + 1);
      ASSERT_EQ(rows.size(1), width + 1 - known);
      EXPECT_LE(max_error(rows, all.narrow(1, known, rows.size(1))), 1e-5) << width;
      known = width + 1;
    }
  }
}

TEST_P(DecoderGoldenAnswer, WithAMemoryAnswersMayEndBeforeOthers) {
  const at::Tensor ends = inputs.lengths % 3 + 1;
  const int64_t width = answer.size(1);
  const at::Tensor all = logits(answered(answer, width));
  const at::Tensor filled =
      at::where(answered(answer, width, ends).counting(Rows::kAnswer).narrow(1, 1, width), answer,
                at::zeros_like(answer));
  Memory memory;
  for (int64_t step = 0; step <= width; ++step) {
    const Inputs now = answered(filled, step, ends);
    const at::Tensor rows = logits(now, &memory).squeeze(1);
    const at::Tensor counts = now.counting(Rows::kAnswer).select(1, step).unsqueeze(1);
    EXPECT_LE(max_error(rows * counts, all.select(1, step) * counts), 1e-5) << step;
  }
}

TEST_P(DecoderGoldenAnswer, HooksSeeTheRowsOfPromptAndAnswer) {
  const Inputs all = answered(answer, answer.size(1), inputs.lengths % 3 + 1);
  std::set<std::string> seen;
  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        seen.insert(layer.name);
        const at::Tensor counts = all.counting(layer.rows);
        EXPECT_EQ(x.sizes().slice(0, 2), counts.sizes()) << layer.name;
        return at::linear(x, weight, bias);
      }};
  architecture->features(weights, all, Pooling::kNone, pass);
  EXPECT_EQ(seen.size(), architecture->layers().size());
}

TEST_P(DecoderGoldenAnswer, InBfloat16TheyAreNear) {
  const at::Tensor exact = logits(answered(answer, answer.size(1)));
  weights = rounded(weights, Precision::kBf16);
  const at::Tensor near = logits(answered(answer, answer.size(1)));
  EXPECT_EQ(architecture->features(weights, inputs, Pooling::kMean).scalar_type(), at::kBFloat16);
  EXPECT_GT(max_error(near, exact), 1e-4);
  EXPECT_LE((near - exact).norm().item<double>(), 0.03 * exact.norm().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGoldenAnswer,
                         testing::Values("gpt2", "llama", "llama_scaled", "mistral", "mixtral", "qwen2"));

class DecoderGoldenDetails : public DecoderGolden {};

TEST_P(DecoderGoldenDetails, LayersReadTheSame) {
  size_t compared = 0;
  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        if (expected.contains("tap/" + layer.name)) {
          EXPECT_LE(max_error(counting(x), expected.read("tap/" + layer.name)), 1e-5) << layer.name;
          ++compared;
        }
        return at::linear(x, weight, bias);
      }};
  architecture->features(weights, inputs, Pooling::kNone, pass);
  size_t taps = 0;
  for (const auto& info : expected.tensors()) {
    taps += info.name.starts_with("tap/") ? 1 : 0;
  }
  EXPECT_EQ(compared, taps);
  EXPECT_GT(taps, 0U);
}

TEST_P(DecoderGoldenDetails, GradientsOfAllParametersAgree) {
  std::vector<at::Tensor> parameters;
  for (auto& [name, tensor] : weights) {
    parameters.push_back(tensor.requires_grad_(true));
  }
  const auto gradients = torch::autograd::grad({(logits(inputs) * expected.read("probe")).sum()}, parameters);
  auto gradient = gradients.begin();
  for (const auto& [name, tensor] : weights) {
    EXPECT_LE(max_error(*gradient++, expected.read("gradient/" + name)), 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGoldenDetails,
                         testing::Values("gpt2", "llama", "llama_scaled", "mixtral", "qwen2"));

TEST(IsLanguageModel, ByTheNameOfItsArchitectureOrBecauseNothingIsSaid) {
  EXPECT_TRUE(is_language_model(json::object()));
  EXPECT_TRUE(is_language_model({{"architectures", nullptr}}));
  EXPECT_TRUE(is_language_model({{"architectures", {"GPT2LMHeadModel"}}}));
  EXPECT_TRUE(is_language_model({{"architectures", {"LlamaForCausalLM"}}}));
  EXPECT_FALSE(is_language_model({{"architectures", {"GPT2ForSequenceClassification"}}}));
  EXPECT_FALSE(is_language_model({{"architectures", {"LlamaModel"}}}));
}

}  // namespace
}  // namespace fusegrid::decoder_test
