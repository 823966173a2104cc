#include "models/stored_parameters.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_expert.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/small_models.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid::stored_parameters_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// As transformers wrote it: a prefix before all names, matrices as [in, out].
class StoredGpt2 : public testing::Test {
 protected:
  // The same with its tensors changed.
  HfFolder changed(const std::function<void(Weights&)>& change) const {
    Weights tensors = folder.read_all();
    change(tensors);
    std::filesystem::remove_all(temporary / "changed");
    save_hf_folder(temporary / "changed", tensors, folder.config());
    return HfFolder(temporary / "changed");
  }
  std::string error_of(const HfFolder& other) const {
    return message_of<ConfigError>([&] { StoredParameters(*architecture, other); });
  }

  HfFolder folder{source_folder() / "tests/golden/decoder/gpt2"};
  std::unique_ptr<Architecture> architecture = make_architecture(folder.config());
  TemporaryFolder temporary;
  const std::string matrix = "transformer.h.0.attn.c_attn.weight";
};

TEST_F(StoredGpt2, IsReadAsTheArchitectureHasIt) {
  const StoredParameters stored(*architecture, folder);
  ASSERT_EQ(stored.tensors().size(), architecture->parameters().size());
  EXPECT_TRUE(stored.read("h.0.attn.c_attn.weight").equal(folder.read(matrix).t()));
  EXPECT_TRUE(stored.read("h.0.attn.c_attn.bias").equal(folder.read("transformer.h.0.attn.c_attn.bias")));
  EXPECT_TRUE(stored.read("wte.weight").equal(folder.read("transformer.wte.weight")));
}

TEST_F(StoredGpt2, RangesAreThoseOfWholeTensors) {
  const StoredParameters stored(*architecture, folder);
  for (const TensorInfo& info : stored.tensors()) {
    const at::Tensor whole = stored.read(info.name).reshape({-1});
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, info.numel()},
                                     {info.numel() / 3, info.numel() / 2},
                                     {info.numel() - 1, info.numel()},
                                     {1, 1}}) {
      at::Tensor part = at::empty({end - begin}, info.dtype);
      stored.read_range(info.name, begin, end - begin, part.mutable_data_ptr());
      EXPECT_TRUE(part.equal(whole.narrow(0, begin, end - begin))) << info.name << " from " << begin;
    }
  }
}

// PEFT's adapters of GPT-2 have the file's orientation, [in, out].
TEST_F(StoredGpt2, FactorsOfAnAdapterAreTurnedAsTheWeightsAre) {
  const auto path = temporary / "adapter";
  std::filesystem::create_directories(path);
  const std::string module = "base_model.model." + matrix.substr(0, matrix.rfind('.'));
  write_safetensors(path / "adapter_model.safetensors",
                    {{module + ".lora_A.weight", normal(1, 0, 0, 2 * 16).view({2, 16})},
                     {module + ".lora_B.weight", normal(2, 0, 0, 48 * 2).view({48, 2})}});
  write_text(path / "adapter_config.json",
             R"({"peft_type": "LORA", "r": 2, "lora_alpha": 3, "fan_in_fan_out": true})");
  const LoraExpert adapter(path, folder);
  const StoredParameters base(*architecture, folder);
  const StoredParameters expert(*architecture, adapter);
  const std::string name = "h.0.attn.c_attn.weight";
  const auto factors = expert.factors(name);
  ASSERT_TRUE(factors);
  const at::Tensor change = factors->scale * factors->b.matmul(factors->a);
  EXPECT_TRUE(at::allclose(expert.read(name), base.read(name) + change, 0, 1e-5));
  EXPECT_GT(change.abs().max().item<float>(), 1);
  EXPECT_FALSE(expert.factors("wte.weight"));
  EXPECT_FALSE(base.factors(name));
}

TEST_F(StoredGpt2, IsSavedAsFilesHaveIt) {
  const Weights parameters = read_parameters(*architecture, folder);
  const Weights tensors = folder.read_all();
  const Weights saved = as_stored(*architecture, parameters);
  EXPECT_EQ(saved.size(), parameters.size());
  for (const auto& [name, tensor] : saved) {
    EXPECT_TRUE(tensor.equal(tensors.at("transformer." + name))) << name;
    EXPECT_TRUE(tensor.is_contiguous()) << name;
  }
}

TEST_F(StoredGpt2, IsPutInPlaceOfWhatAModelHolds) {
  const HfFolder other = changed([](Weights& tensors) {
    tensors["transformer.h.0.attn.masked"] = at::zeros({3}, at::kLong);
    tensors["lm_head.weight"] = tensors.at("transformer.wte.weight") + 1;  // a copy, since the two are tied
  });
  Weights parameters = read_parameters(*architecture, folder);
  for (auto& [name, tensor] : parameters) {
    tensor = tensor * 2;
  }
  Weights expected = folder.read_all();
  for (auto& [name, tensor] : expected) {
    tensor = tensor * 2;
  }
  expected["transformer.h.0.attn.masked"] = at::zeros({3}, at::kLong);
  EXPECT_EQ(digest(in_place_of(other, *architecture, parameters)), digest(expected));
}

TEST_F(StoredGpt2, OtherDtypesOfFilesAreKept) {
  const HfFolder other =
      changed([&](Weights& tensors) { tensors[matrix] = tensors.at(matrix).to(at::kBFloat16); });
  const StoredParameters stored(*architecture, other);
  EXPECT_EQ(find_tensor(stored, "h.0.attn.c_attn.weight")->dtype, at::kBFloat16);
  EXPECT_EQ(find_tensor(stored, "wte.weight")->dtype, at::kFloat);
}

TEST_F(StoredGpt2, WhatDoesNotFitIsNamed) {
  EXPECT_THAT(error_of(changed([&](Weights& tensors) { tensors.erase(matrix); })),
              AllOf(HasSubstr("h.0.attn.c_attn.weight"), HasSubstr("missing")));
  EXPECT_THAT(
      error_of(changed([&](Weights& tensors) { tensors[matrix] = tensors.at(matrix).t().contiguous(); })),
      AllOf(HasSubstr(matrix), HasSubstr("[16, 48]"), HasSubstr("[48, 16]")));
  EXPECT_THAT(error_of(changed(
                  [](Weights& tensors) { tensors["transformer.ln_f.bias"] = at::zeros({16}, at::kLong); })),
              AllOf(HasSubstr("ln_f.bias"), HasSubstr("floating-point")));
}

}  // namespace
}  // namespace fusegrid::stored_parameters_test
