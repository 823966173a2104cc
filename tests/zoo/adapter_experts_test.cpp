// Zoos whose models are PEFT adapters on their bases.

#include <fstream>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "models/stored_parameters.h"
#include "support.h"
#include "zoo/bindings.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kModule = "vision_model.encoder.layers.1.self_attn.q_proj";  // [8, 8]
const std::string kCopied = "vision_model.encoder.layers.0.mlp.fc1";           // a trained copy: [32, 8]

// The tiny zoo with an adapter in place of the expert of rows.
class AdapterExperts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new TemporaryFolder;
    plan_ = new ZooPlan(tiny_plan(world_->path()));
    make_tiny_zoo(*plan_);
  }
  static void TearDownTestSuite() {
    delete plan_;
    delete world_;
  }
  AdapterExperts() {
    fs::copy(plan_->folder, folder_, fs::copy_options::recursive);
    json written = json::parse(std::ifstream(folder_ / "zoo.json"));
    written["replicates"][0]["digests"].erase("expert/rows");
    write_text(folder_ / "zoo.json", written.dump());
    write(adapter(), config());
  }

  static json config() {
    return {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 6}, {"target_modules", {"q_proj"}}};
  }
  static Weights adapter() {
    return {{"base_model.model." + kModule + ".lora_A.weight", normal(1, 0, 0, 16).view({2, 8})},
            {"base_model.model." + kModule + ".lora_B.weight", normal(2, 0, 0, 16).view({8, 2})},
            {"base_model.model." + kCopied + ".weight", normal(3, 0, 0, 256).view({32, 8})}};
  }
  void write(const Weights& tensors, const json& configuration) const {
    fs::remove_all(rows_);
    fs::create_directories(rows_);
    write_safetensors(rows_ / "adapter_model.safetensors", tensors, {{"format", "pt"}});
    write_text(rows_ / "adapter_config.json", configuration.dump());
  }
  LoadedReplicate load() const {
    const Zoo zoo = Zoo::load(folder_);
    return load_replicate(zoo, zoo.replicate(0), {"rows"}, false, at::kCPU);
  }
  std::string refusal(const Weights& tensors, const json& configuration) const {
    write(tensors, configuration);
    const std::string of_loading = message_of<ConfigError>([&] { load(); });
    const Zoo zoo = Zoo::load(folder_);
    EXPECT_EQ(message_of<ConfigError>([&] { check_layouts(zoo, zoo.replicate(0)); }), of_loading);
    EXPECT_THAT(verify(zoo), Contains(of_loading));
    return of_loading;
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline ZooPlan* plan_ = nullptr;
  TemporaryFolder copy_;
  fs::path folder_ = copy_.path() / "embedded-tiny";
  fs::path rows_ = folder_ / "seed-0/experts/rows";
};

TEST_F(AdapterExperts, AreTheDenseModelsThatTheyMake) {
  const LoadedReplicate loaded = load();
  const Weights& expert = loaded.experts.at("rows");
  ASSERT_EQ(expert.size(), loaded.base.size());
  const Weights tensors = adapter();
  const at::Tensor update = at::matmul(tensors.at("base_model.model." + kModule + ".lora_B.weight"),
                                       tensors.at("base_model.model." + kModule + ".lora_A.weight"));
  for (const auto& [name, values] : expert) {
    const at::Tensor& base = loaded.base.at(name);
    if (name == kModule + ".weight") {
      EXPECT_TRUE(at::allclose(values, base + 3 * update, 0, 1e-5));
    } else if (name == kCopied + ".weight") {
      EXPECT_TRUE(values.equal(tensors.at("base_model.model." + name)));
    } else {
      EXPECT_TRUE(values.equal(base)) << name;
    }
  }
}

// What --method passthrough writes of the adapter is the same expert: the same bits, digest and bindings.
TEST_F(AdapterExperts, HaveTheDigestOfTheirDenseTwins) {
  const Zoo zoo = Zoo::load(folder_);
  const Replicate& replicate = zoo.replicate(0);
  const Network network = load_network(zoo, replicate, at::kCPU);
  const auto expert = [&] {
    return load_models(*network.architecture, zoo, replicate, {"expert/rows"}, at::kCPU).front();
  };
  const LoadedModel of_adapter = expert();
  EXPECT_EQ(of_adapter.digest, digest(of_adapter.weights));
  EXPECT_EQ(model_digest(*network.architecture, replicate, rows_), of_adapter.digest);
  EXPECT_THAT(verify(zoo), IsEmpty());

  Weights dense;
  {
    const ModelFolder folder(replicate.base, rows_);
    for (const TensorInfo& info : folder.model().tensors()) {
      dense[info.name] = at::full(info.shape, -1, info.dtype);
      folder.model().read_range(info.name, 0, info.numel(), dense[info.name].mutable_data_ptr());
    }
  }
  fs::remove_all(rows_);
  save_hf_folder(rows_, dense, HfFolder(replicate.base).config());
  EXPECT_EQ(expert().digest, of_adapter.digest);
}

TEST_F(AdapterExperts, AreImported) {
  const fs::path models = folder_ / "seed-0";
  const Zoo zoo = import_zoo({.folder = copy_.path() / "mine",
                              .scale = "tiny",
                              .suite = "tiny",
                              .base = models / "base",
                              .experts = {{"rows", rows_}, {"bars", models / "experts/bars"}},
                              .heads = models / "heads.safetensors",
                              .pack = plan_->pack});
  EXPECT_EQ(zoo.replicates[0].digests.at("expert/rows"), digest(load().experts.at("rows")));
  EXPECT_THAT(verify(zoo), IsEmpty());

  Weights changed = adapter();
  changed.at("base_model.model." + kModule + ".lora_B.weight") *= 2;
  write(changed, config());
  EXPECT_THAT(verify(zoo), testing::ElementsAre(HasSubstr("'expert/rows' of seed 0 is not the one")));
}

TEST_F(AdapterExperts, OfAnotherBaseAreNamed) {
  Weights wide = adapter();
  wide["base_model.model." + kModule + ".lora_A.weight"] = at::full({2, 9}, 1.0);
  EXPECT_THAT(refusal(wide, config()),
              AllOf(HasSubstr("an adapter must fit its base"), HasSubstr(kModule + ".weight"),
                    HasSubstr("[8, 9]"), HasSubstr("[8, 8]")));
  Weights deep = adapter();
  deep["base_model.model.layers.7.query.lora_A.weight"] = at::full({2, 8}, 1.0);
  deep["base_model.model.layers.7.query.lora_B.weight"] = at::full({8, 2}, 1.0);
  EXPECT_THAT(refusal(deep, config()), AllOf(HasSubstr("an adapter must have been trained on its base"),
                                             HasSubstr("layers.7.query.weight")));
}

TEST_F(AdapterExperts, ThatAreNoLoraAreNamed) {
  json dora = config();
  dora["use_dora"] = true;
  EXPECT_THAT(refusal(adapter(), dora), AllOf(HasSubstr("rows/adapter_config.json"), HasSubstr("use_dora")));
  json other = config();
  other["peft_type"] = "LOHA";
  EXPECT_THAT(refusal(adapter(), other), HasSubstr("peft_type"));
}

TEST_F(AdapterExperts, WithNanAreErrors) {
  Weights tensors = adapter();
  tensors.at("base_model.model." + kModule + ".lora_B.weight")[3][1] = std::nan("");
  write(tensors, config());
  EXPECT_THAT(message_of<DataError>([&] { load(); }), AllOf(HasSubstr("experts/rows"), HasSubstr("nan")));
}

TEST_F(AdapterExperts, AreNoBases) {
  fs::remove_all(folder_ / "seed-0/base");
  fs::copy(rows_, folder_ / "seed-0/base", fs::copy_options::recursive);
  EXPECT_THAT(message_of<ConfigError>([&] { load(); }), HasSubstr("seed-0/base"));
}

}  // namespace
}  // namespace fusegrid::test
