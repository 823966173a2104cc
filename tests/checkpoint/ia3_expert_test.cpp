#include "checkpoint/ia3_expert.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/model_spec.h"
#include "checkpoint/peft_golden.h"
#include "checkpoint/read_all.h"
#include "core/errors.h"

namespace fusegrid::ia3_expert_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Ia3Folder : public testing::Test {
 protected:
  static nlohmann::json config() {
    return {{"peft_type", "IA3"}, {"target_modules", {"q", "up"}}, {"feedforward_modules", {"up"}}};
  }
  static Weights vectors() {
    return {{"base_model.model.q.ia3_l", peft_numbers(950, {4, 1}) / 2 + 1},
            {"base_model.model.up.ia3_l", peft_numbers(951, {1, 4}) / 2 + 1}};
  }
  // named_parameters(), sorted, with the numbers of make_peft_merges.py
  static Weights base(int64_t seed, const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes) {
    Weights weights;
    for (const auto& [name, shape] : shapes) {
      weights.emplace(name, peft_numbers(100 * seed + static_cast<int64_t>(weights.size()), shape));
    }
    return weights;
  }
  static Weights plain_base() {
    return base(9, {{"q.bias", {4}}, {"q.weight", {4, 4}}, {"up.bias", {5}}, {"up.weight", {5, 4}}});
  }
  HfFolder save_base(const Weights& weights, const nlohmann::json& with = {{"model_type", "test"}}) {
    const auto path = folder_ / ("base" + std::to_string(count_++));
    save_hf_folder(path, weights, with);
    return HfFolder(path);
  }
  std::filesystem::path write(const Weights& tensors, const nlohmann::json& with) {
    const auto path = folder_ / ("adapter" + std::to_string(count_++));
    write_adapter(path, tensors, with);
    return path;
  }
  template <typename Expected>
  std::string refusal(const Weights& tensors, const nlohmann::json& with, const HfFolder& on) {
    const auto path = write(tensors, with);
    return message_of<Expected>([&] { Ia3Expert(path, on); });
  }

  TemporaryFolder folder_;
  int count_ = 0;
};

TEST_F(Ia3Folder, IsTheModelThatPeftMakes) {
  const HfFolder base = save_base(plain_base());
  const auto expert = open_folder(write(vectors(), config()), &base);
  const auto golden = peft_golden().at("ia3").at("model");
  for (const auto& [name, values] : read_all(*expert)) {
    EXPECT_EQ(values.scalar_type(), at::kFloat) << name;
    expect_numbers(values, golden.at(name), 2e-7, name);
  }
  EXPECT_EQ(expert->tensors().size(), 4U);
  EXPECT_FALSE(expert->factors("q.weight"));
}

TEST_F(Ia3Folder, TurnsWeightsThatAreStoredSo) {
  const HfFolder base = save_base(this->base(
      10, {{"c_fc.bias", {5}}, {"c_fc.weight", {4, 5}}, {"c_proj.bias", {4}}, {"c_proj.weight", {5, 4}}}));
  const nlohmann::json turned{{"peft_type", "IA3"},
                              {"target_modules", {"c_fc", "c_proj"}},
                              {"feedforward_modules", ".*proj"},
                              {"fan_in_fan_out", true}};
  const Ia3Expert expert(write({{"base_model.model.c_fc.ia3_l", peft_numbers(1050, {5, 1}) / 2 + 1},
                                {"base_model.model.c_proj.ia3_l", peft_numbers(1051, {1, 5}) / 2 + 1}},
                               turned),
                         base);
  const auto golden = peft_golden().at("ia3").at("turned");
  for (const auto& [name, values] : read_all(expert)) {
    expect_numbers(values, golden.at(name), 2e-7, name);
  }
}

TEST_F(Ia3Folder, GivesTheSameBitsInAnyRanges) {
  const HfFolder base = save_base(plain_base());
  const Ia3Expert expert(write(vectors(), config()), base);
  for (const auto& [name, whole] : read_all(expert)) {
    for (int64_t i = 0; i < whole.numel(); ++i) {
      float value = 0;
      expert.read_range(name, i, 1, &value);
      EXPECT_EQ(value, whole.view({-1}).const_data_ptr<float>()[i]) << name;
    }
  }
}

TEST_F(Ia3Folder, FindsThePartOfTheBaseAndTakesWhatIsHeldWhole) {
  Weights named;
  for (const auto& [name, values] : plain_base()) {
    named.emplace("encoder." + name, values);
  }
  named.emplace("encoder.norm.weight", peft_numbers(1, {4}));
  const HfFolder base = save_base(named);
  Weights tensors = vectors();
  tensors.emplace("base_model.model.norm.weight", peft_numbers(2, {4}));
  tensors.emplace("base_model.model.classifier.weight", peft_numbers(3, {2, 4}));
  const Weights model = read_all(Ia3Expert(write(tensors, config()), base));
  EXPECT_TRUE(model.at("encoder.norm.weight").equal(peft_numbers(2, {4})));
  EXPECT_TRUE(model.at("classifier.weight").equal(peft_numbers(3, {2, 4})));
  expect_numbers(model.at("encoder.q.weight"), peft_golden().at("ia3").at("model").at("q.weight"), 2e-7, "q");
}

TEST_F(Ia3Folder, RefusesWhatDoesNotFit) {
  const HfFolder base = save_base(plain_base());
  auto other = vectors();
  other["base_model.model.q.ia3_l"] = peft_numbers(1, {3, 1});
  EXPECT_THAT(refusal<ConfigError>(other, config(), base),
              AllOf(HasSubstr("multiplies 3 outputs"), HasSubstr("[4, 4]"), HasSubstr("trained on")));
  EXPECT_THAT(refusal<ConfigError>({{"base_model.model.k.ia3_l", peft_numbers(1, {4, 1})}}, config(), base),
              HasSubstr("does not have: 'k.weight'"));
  auto contradicting = config();
  contradicting["feedforward_modules"] = nlohmann::json::array();
  EXPECT_THAT(refusal<DataError>(vectors(), contradicting, base),
              AllOf(HasSubstr("'up'"), HasSubstr("[out, 1]"), HasSubstr("[1, 4]")));
  auto silent = config();
  silent.erase("feedforward_modules");
  EXPECT_THAT(refusal<ConfigError>(vectors(), silent, base), HasSubstr("feedforward_modules must be a list"));
  auto unknown = config();
  unknown["use_more"] = true;
  EXPECT_THAT(refusal<ConfigError>(vectors(), unknown, base), HasSubstr("'use_more'"));
  EXPECT_THAT(refusal<DataError>({{"base_model.model.q.weight", peft_numbers(1, {4, 4})}}, config(), base),
              HasSubstr("it holds none"));
  EXPECT_THAT(refusal<ConfigError>({{"q.ia3_l", peft_numbers(1, {4, 1})}}, config(), base),
              HasSubstr("begin with base_model.model."));
}

TEST_F(Ia3Folder, RefusesAHeadOfItsOwnOnATiedBase) {
  Weights weights = plain_base();
  weights.emplace("embed_tokens.weight", peft_numbers(1, {6, 4}));
  const HfFolder base = save_base(weights, {{"model_type", "test"}, {"tie_word_embeddings", true}});
  Weights tensors = vectors();
  tensors.emplace("base_model.model.lm_head.weight", peft_numbers(2, {6, 4}));
  EXPECT_THAT(refusal<ConfigError>(tensors, config(), base), HasSubstr("ties head and embedding"));
}

}  // namespace
}  // namespace fusegrid::ia3_expert_test
