#include "checkpoint/lora_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_expert.h"
#include "checkpoint/read_all.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid::lora_folder_test {
namespace {

class SavedAdapter : public testing::Test {
 protected:
  static at::Tensor numbers(uint64_t key, int64_t rows, int64_t columns) {
    return normal(key, 0, 0, rows * columns).view({rows, columns});
  }
  nlohmann::json config() const {
    return nlohmann::json::parse(read_text(folder_ / "adapter" / "adapter_config.json"));
  }

  TemporaryFolder folder_;
  const LoraAdapter adapter_{.factors = {{"m.q.weight", {numbers(1, 6, 2), numbers(2, 2, 5), 2}},
                                         {"m.v.weight", {numbers(3, 4, 2), numbers(4, 2, 6), 2}}},
                             .targets = {"q", "v"},
                             .task_type = "SEQ_2_SEQ_LM"};
};

TEST_F(SavedAdapter, IsReadAsTheModelThatItMakes) {
  save_hf_folder(folder_ / "base", {{"m.q.weight", numbers(5, 6, 5)}, {"m.v.weight", numbers(6, 4, 6)}},
                 {{"model_type", "test"}});
  save_lora_folder(folder_ / "adapter", adapter_, "../base", {{"provenance.json", "{}"}});
  const HfFolder base(folder_ / "base");
  const LoraExpert expert(folder_ / "adapter", base);
  for (const auto& [name, factors] : adapter_.factors) {
    const at::Tensor merged = base.read(name) + 2 * factors.b.matmul(factors.a);
    EXPECT_TRUE(at::allclose(read(expert, *find_tensor(expert, name)), merged, 0, 1e-5)) << name;
    EXPECT_TRUE(expert.factors(name)->b.equal(factors.b));
    EXPECT_TRUE(expert.factors(name)->a.equal(factors.a));
    EXPECT_EQ(expert.factors(name)->scale, 2);
  }
  EXPECT_EQ(read_text(folder_ / "adapter" / "provenance.json"), "{}");
}

// tests/golden/lora/linear was written by PEFT.
TEST_F(SavedAdapter, HasThePartsThatPeftWrites) {
  save_lora_folder(folder_ / "adapter", adapter_, "../base");
  const auto golden = source_folder() / "tests/golden/lora/linear";
  const auto theirs = nlohmann::json::parse(read_text(golden / "adapter_config.json"));
  const nlohmann::json ours = config();
  for (const auto& [key, value] : ours.items()) {
    ASSERT_TRUE(theirs.contains(key)) << key;
    if (!theirs[key].is_null() && !value.is_null()) {
      EXPECT_EQ(theirs[key].type(), value.type()) << key;
    }
  }
  EXPECT_EQ(ours.at("r"), 2);
  EXPECT_EQ(ours.at("lora_alpha"), 4);
  EXPECT_EQ(ours.at("target_modules"), (std::vector<std::string>{"q", "v"}));
  EXPECT_EQ(ours.at("task_type"), "SEQ_2_SEQ_LM");
  EXPECT_EQ(ours.at("base_model_name_or_path"), "../base");
  std::vector<std::string> names;
  const SafetensorsFile written(folder_ / "adapter" / "adapter_model.safetensors");
  for (const auto& tensor : written.tensors()) {
    names.push_back(tensor.name);
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         "base_model.model.m.q.lora_A.weight", "base_model.model.m.q.lora_B.weight",
                         "base_model.model.m.v.lora_A.weight", "base_model.model.m.v.lora_B.weight"));
  const SafetensorsFile written_by_peft(golden / "adapter_model.safetensors");
  for (const auto& tensor : written_by_peft.tensors()) {
    EXPECT_TRUE(tensor.name.starts_with("base_model.model.") &&
                (tensor.name.ends_with(".lora_A.weight") || tensor.name.ends_with(".lora_B.weight")))
        << tensor.name;
  }
}

// An embedding, modules of other ranks and scales, one whose name is the end of another's, biases and a norm.
TEST_F(SavedAdapter, HoldsAllThatLoraExpertReads) {
  const Weights base_weights{
      {"embed.weight", numbers(1, 7, 4)},       {"q.weight", numbers(2, 6, 5)},
      {"q.bias", numbers(3, 1, 6).view({6})},   {"text.q.weight", numbers(4, 6, 5)},
      {"v.weight", numbers(5, 4, 6)},           {"norm.weight", numbers(6, 1, 4).view({4})},
      {"norm.bias", numbers(7, 1, 4).view({4})}};
  save_hf_folder(folder_ / "base", base_weights, {{"model_type", "test"}});
  const LoraAdapter adapter{.factors = {{"embed.weight", {numbers(8, 4, 3), numbers(9, 3, 7), 2}},
                                        {"q.weight", {numbers(10, 6, 1), numbers(11, 1, 5), 5}},
                                        {"text.q.weight", {numbers(12, 6, 3), numbers(13, 3, 5), 2}},
                                        {"v.weight", {numbers(14, 4, 3), numbers(15, 3, 6), 1.0 / 3}}},
                            .targets = {"embed", "q", "v"},
                            .task_type = "",
                            .embeddings = {"embed.weight"},
                            .saved = {{"q.bias", numbers(16, 1, 6).view({6})},
                                      {"norm.weight", numbers(17, 1, 4).view({4})},
                                      {"norm.bias", numbers(18, 1, 4).view({4})}},
                            .modules_to_save = {"norm"}};
  save_lora_folder(folder_ / "adapter", adapter, "../base");
  const HfFolder base(folder_ / "base");
  const LoraExpert expert(folder_ / "adapter", base);
  for (const auto& [name, factors] : adapter.factors) {
    const at::Tensor update = factors.scale * factors.b.matmul(factors.a);
    const at::Tensor merged = base.read(name) + (name == "embed.weight" ? update.t() : update);
    EXPECT_TRUE(at::allclose(read(expert, *find_tensor(expert, name)), merged, 0, 1e-5)) << name;
  }
  for (const auto& [name, tensor] : adapter.saved) {
    EXPECT_TRUE(read(expert, *find_tensor(expert, name)).equal(tensor)) << name;
  }
  EXPECT_EQ(config().at("bias"), "lora_only");
  EXPECT_EQ(config().at("r"), 3);
  EXPECT_EQ(config().at("lora_alpha"), 6);
  EXPECT_EQ(config().at("rank_pattern"), nlohmann::json({{"^q", 1}}));
  EXPECT_EQ(config().at("alpha_pattern"), nlohmann::json({{"^q", 5}, {"v", 1}}));
}

TEST_F(SavedAdapter, ReplacesNothing) {
  save_lora_folder(folder_ / "adapter", adapter_, "../base");
  EXPECT_THAT(message_of<ConfigError>([&] { save_lora_folder(folder_ / "adapter", adapter_, "../base"); }),
              testing::HasSubstr("must be saved to a new folder"));
}

}  // namespace
}  // namespace fusegrid::lora_folder_test
