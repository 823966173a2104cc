#include "checkpoint/lora_file_expert.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/read_all.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

at::Tensor steps(const std::vector<int64_t>& shape, int64_t seed) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return ((at::arange(count, at::kFloat) * 5 + seed).remainder(11) / 8 - 0.5).reshape(shape);
}

// A base of a convolution, matrices and names that differ by '.' and '_' alone.
class LoraFile : public testing::Test {
 protected:
  LoraFile() {
    save_hf_folder(folder_ / "unet", base_weights(), {{"_class_name", "UNet2DConditionModel"}});
    save_hf_folder(folder_ / "text", {{"text_model.layers.0.q_proj.weight", steps({4, 4}, 9)}}, {{"x", 1}});
    base_ = std::make_unique<HfFolder>(folder_ / "unet");
    text_ = std::make_unique<HfFolder>(folder_ / "text");
  }
  static Weights base_weights() {
    return {{"conv.weight", steps({4, 3, 3, 3}, 1)},    {"conv.bias", steps({4}, 2)},
            {"blocks.0.to_q.weight", steps({4, 6}, 3)}, {"blocks.0.to_out.0.weight", steps({4, 6}, 4)},
            {"a.b_c.weight", steps({4, 4}, 5)},         {"a_b.c.weight", steps({4, 4}, 6)}};
  }
  std::filesystem::path write(const Weights& weights,
                              const std::map<std::string, std::string>& metadata = {}) {
    const auto path = folder_ / ("lora-" + std::to_string(count_++) + ".safetensors");
    write_safetensors(path, weights, metadata);
    return path;
  }
  Weights opened(const std::filesystem::path& path, const std::string& component = "unet") const {
    return read_all(LoraFileExpert(path, component, component == "unet" ? *base_ : *text_));
  }
  template <typename Expected = ConfigError>
  std::string refused(const Weights& weights, const std::map<std::string, std::string>& metadata = {}) {
    const auto path = write(weights, metadata);
    return message_of<Expected>([&] { LoraFileExpert(path, "unet", *base_); });
  }
  // Of blocks.0.to_q, behind any name.
  static Weights query(const std::string& down, const std::string& up) {
    return {{down, steps({2, 6}, 7)}, {up, steps({4, 2}, 8)}};
  }
  static at::Tensor merged_query(double scale) {
    return base_weights().at("blocks.0.to_q.weight") + at::mm(steps({4, 2}, 8), steps({2, 6}, 7)) * scale;
  }

  TemporaryFolder folder_;
  std::unique_ptr<HfFolder> base_, text_;
  int count_ = 0;
};

TEST_F(LoraFile, every_spelling_of_a_module_is_found) {
  const std::vector<std::pair<std::string, std::string>> spellings{
      {"unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight"},
      {"unet.blocks.0.to_q.lora_A.default.weight", "unet.blocks.0.to_q.lora_B.default.weight"},
      {"blocks.0.to_q.lora.down.weight", "blocks.0.to_q.lora.up.weight"},
      {"unet.blocks.0.to_q.lora_linear_layer.down.weight", "unet.blocks.0.to_q.lora_linear_layer.up.weight"},
      {"unet.blocks.0.processor.to_q_lora.down.weight", "unet.blocks.0.processor.to_q_lora.up.weight"},
      {"lora_unet_blocks_0_to_q.lora_down.weight", "lora_unet_blocks_0_to_q.lora_up.weight"}};
  for (const auto& [down, up] : spellings) {
    const Weights merged = opened(write(query(down, up)));
    EXPECT_TRUE(at::allclose(merged.at("blocks.0.to_q.weight"), merged_query(1))) << down;
    EXPECT_TRUE(at::equal(merged.at("conv.weight"), base_weights().at("conv.weight")));
  }
  const Weights out = opened(write(query("unet.blocks.0.processor.to_out_lora.down.weight",
                                         "unet.blocks.0.processor.to_out_lora.up.weight")));
  EXPECT_FALSE(at::equal(out.at("blocks.0.to_out.0.weight"), base_weights().at("blocks.0.to_out.0.weight")));
}

TEST_F(LoraFile, alpha_or_the_metadata_scale_the_update) {
  Weights weights =
      query("lora_unet_blocks_0_to_q.lora_down.weight", "lora_unet_blocks_0_to_q.lora_up.weight");
  weights["lora_unet_blocks_0_to_q.alpha"] = at::full({}, 3.0, at::kHalf);
  EXPECT_TRUE(at::allclose(opened(write(weights)).at("blocks.0.to_q.weight"), merged_query(1.5)));
  const std::map<std::string, std::string> metadata{
      {"lora_adapter_metadata", R"({"unet.r": 2, "unet.lora_alpha": 5, "unet.target_modules": ["to_q"]})"}};
  const Weights dotted = query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight");
  EXPECT_TRUE(at::allclose(opened(write(dotted, metadata)).at("blocks.0.to_q.weight"), merged_query(2.5)));
  Weights both = dotted;
  both["unet.blocks.0.to_q.alpha"] = at::full({1}, 5.0, at::kFloat);
  EXPECT_TRUE(at::allclose(opened(write(both, metadata)).at("blocks.0.to_q.weight"), merged_query(2.5)));
  both["unet.blocks.0.to_q.alpha"] = at::full({1}, 4.0, at::kFloat);
  EXPECT_THAT(refused<DataError>(both, metadata), HasSubstr("2 and 2.5"));
  EXPECT_THAT(
      refused<DataError>(dotted, {{"lora_adapter_metadata", R"({"unet.r": 4, "unet.lora_alpha": 4})"}}),
      HasSubstr("rank of the file's metadata, 4"));
  EXPECT_THAT(refused(dotted, {{"lora_adapter_metadata",
                                R"({"unet.r": 2, "unet.lora_alpha": 4, "unet.use_dora": true})"}}),
              HasSubstr("use_dora"));
}

TEST_F(LoraFile, convolutions_are_matrices_and_ranges_have_the_same_bits) {
  const Weights weights{{"lora_unet_conv.lora_down.weight", steps({2, 3, 3, 3}, 7)},
                        {"lora_unet_conv.lora_up.weight", steps({4, 2, 1, 1}, 8)}};
  const LoraFileExpert expert(write(weights), "unet", *base_);
  const at::Tensor whole = read_all(expert).at("conv.weight");
  const at::Tensor update = at::mm(steps({4, 2}, 8), steps({2, 3, 3, 3}, 7).view({2, 27})).view({4, 3, 3, 3});
  EXPECT_TRUE(at::allclose(whole, base_weights().at("conv.weight") + update));
  for (int64_t begin = 0; begin + 13 <= whole.numel(); begin += 5) {
    std::vector<float> part(13);
    expert.read_range("conv.weight", begin, 13, part.data());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.const_data_ptr<float>() + begin));
  }
  EXPECT_FALSE(expert.factors("conv.weight"));
}

TEST_F(LoraFile, factors_of_matrices_are_given_as_they_are) {
  const LoraFileExpert expert(write(query("blocks.0.to_q.lora_A.weight", "blocks.0.to_q.lora_B.weight")),
                              "unet", *base_);
  const auto factors = expert.factors("blocks.0.to_q.weight");
  ASSERT_TRUE(factors);
  EXPECT_TRUE(at::equal(factors->a, steps({2, 6}, 7)));
  EXPECT_TRUE(at::equal(factors->b, steps({4, 2}, 8)));
  EXPECT_FALSE(expert.factors("conv.bias"));
}

TEST_F(LoraFile, text_encoders_are_found_with_and_without_text_model) {
  for (const std::string module : {"lora_te_text_model_layers_0_q_proj", "text_encoder.layers.0.q_proj"}) {
    const auto path = write(
        {{module + ".lora_down.weight", steps({2, 4}, 7)}, {module + ".lora_up.weight", steps({4, 2}, 8)}});
    EXPECT_FALSE(at::equal(opened(path, "text_encoder").begin()->second, steps({4, 4}, 9))) << module;
    EXPECT_TRUE(at::equal(opened(path).at("conv.weight"), base_weights().at("conv.weight")));
  }
}

TEST_F(LoraFile, names_that_are_no_module_or_several_are_refused) {
  EXPECT_THAT(
      refused(query("lora_unet_blocks_9_to_q.lora_down.weight", "lora_unet_blocks_9_to_q.lora_up.weight")),
      AllOf(HasSubstr("has none for 1 of"), HasSubstr("lora_unet_blocks_9_to_q.lora_down.weight"),
            HasSubstr("give the base")));
  EXPECT_THAT(refused(query("lora_unet_input_blocks_1_1_to_q.lora_down.weight",
                            "lora_unet_input_blocks_1_1_to_q.lora_up.weight")),
              HasSubstr("names of the original code"));
  EXPECT_THAT(refused({{"lora_unet_a_b_c.lora_down.weight", steps({2, 4}, 7)},
                       {"lora_unet_a_b_c.lora_up.weight", steps({4, 2}, 8)}}),
              AllOf(HasSubstr("can be a.b_c, a_b.c"), HasSubstr("save_lora_weights")));
  Weights twice = query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight");
  twice["unet.blocks.0.to_q.lora.down.weight"] = steps({2, 6}, 7);
  EXPECT_THAT(refused<DataError>(twice), HasSubstr("hold each factor once"));
}

TEST_F(LoraFile, what_is_no_plain_update_is_refused) {
  const auto with = [](const std::string& key) {
    Weights weights = query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight");
    weights[key] = steps({2}, 1);
    return weights;
  };
  EXPECT_THAT(refused(with("lora_unet_conv.hada_w1_a")), HasSubstr("which is LoHa"));
  EXPECT_THAT(refused(with("unet.blocks.0.to_q.lora_magnitude_vector")), HasSubstr("which is DoRA"));
  EXPECT_THAT(refused(with("lora_unet_conv.lora_mid.weight")), HasSubstr("LoCon with a core"));
  EXPECT_THAT(refused(with("unet.blocks.0.to_q.lora_B.bias")), HasSubstr("which is a bias"));
  EXPECT_THAT(refused({{"conv.weight", steps({2}, 1)}}), HasSubstr("give a checkpoint as the folder"));
  EXPECT_THAT(refused<DataError>({}), HasSubstr("it holds no tensor"));
  EXPECT_THAT(refused<DataError>({{"unet.conv.lora_A.weight", steps({2, 3, 3, 3}, 7)}}),
              AllOf(HasSubstr("lacks the one that goes up"), HasSubstr("was the file cut?")));
}

TEST_F(LoraFile, shapes_and_numbers_that_do_not_fit_are_refused) {
  EXPECT_THAT(refused({{"lora_unet_conv.lora_down.weight", steps({2, 3, 1, 1}, 7)},
                       {"lora_unet_conv.lora_up.weight", steps({4, 2, 1, 1}, 8)}}),
              AllOf(HasSubstr("'conv.weight' [4, 3, 3, 3] must be [r, 3, 3, 3] and [4, r]"),
                    HasSubstr("[2, 3, 1, 1] and [4, 2, 1, 1]")));
  EXPECT_THAT(refused({{"unet.blocks.0.to_q.lora_A.weight", steps({3, 6}, 7)},
                       {"unet.blocks.0.to_q.lora_B.weight", steps({4, 2}, 8)}}),
              HasSubstr("[3, 6] and [4, 2]"));
  Weights weights = query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight");
  weights["unet.blocks.0.to_q.alpha"] = at::full({2}, 1.0, at::kFloat);
  EXPECT_THAT(refused<DataError>(weights), HasSubstr("must be one finite number, but it is [2]"));
}

TEST_F(LoraFile, truncated_files_are_refused) {
  const auto path = write(query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight"));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  EXPECT_THROW(LoraFileExpert(path, "unet", *base_), DataError);
  std::filesystem::resize_file(path, 5);
  EXPECT_THROW(LoraFileExpert(path, "unet", *base_), DataError);
}

TEST_F(LoraFile, a_file_of_several_components_needs_the_pipeline) {
  Weights weights = query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight");
  const auto one = write(weights);
  EXPECT_NO_THROW(open_model(one, base_.get()));
  EXPECT_THAT(message_of<ConfigError>([&] { open_model(one, nullptr); }), HasSubstr("is a file"));
  weights["text_encoder.q.lora_A.weight"] = steps({2, 6}, 7);
  weights["text_encoder.q.lora_B.weight"] = steps({4, 2}, 8);
  const auto several = write(weights);
  EXPECT_THAT(message_of<ConfigError>([&] { open_model(several, base_.get()); }),
              HasSubstr("give the pipeline as --base"));
}

TEST_F(LoraFile, a_folder_with_one_file_of_factors_stands_for_it) {
  const auto file = write(query("unet.blocks.0.to_q.lora_A.weight", "unet.blocks.0.to_q.lora_B.weight"));
  std::filesystem::create_directory(folder_ / "style");
  EXPECT_FALSE(lora_file_at(folder_ / "style", {}));
  std::filesystem::copy_file(file, folder_ / "style" / "pytorch_lora_weights.safetensors");
  EXPECT_TRUE(lora_file_at(folder_ / "style", {}));
  EXPECT_TRUE(lora_file_at(file, {}));
  EXPECT_FALSE(lora_file_at(folder_ / "unet", {}));
  EXPECT_FALSE(lora_file_at(folder_ / "missing.safetensors", {}));
  EXPECT_NO_THROW(open_folder(folder_ / "style", base_.get()));
}

// tests/golden/make_pipelines.py: what diffusers' load_lora_weights and fuse_lora make of both layouts. Under kohya's
// names diffusers 0.42 passes over the queries of text encoders of transformers 5, with a warning.
TEST(LoraFileGolden, both_components_are_what_diffusers_makes_of_them) {
  const auto folder = source_folder() / "tests/golden/pipelines";
  for (const std::string layout : {"diffusers", "kohya"}) {
    const SafetensorsFile expected(folder / ("expected_" + layout + ".safetensors"));
    size_t compared = 0;
    for (const std::string component : {"unet", "text_encoder"}) {
      const HfFolder base(folder / "base" / component);
      const Weights read = read_all(LoraFileExpert(folder / (layout + ".safetensors"), component, base));
      for (const auto& [name, weight] : read) {
        const std::string key = component + "." + name;
        if (layout == "kohya" && key == "text_encoder.encoder.layers.0.self_attn.q_proj.weight") {
          EXPECT_FALSE(expected.contains(key));
        } else if (expected.contains(key)) {
          EXPECT_TRUE(at::allclose(weight, expected.read(key), 0, 3e-7)) << layout << ": " << key;
          ++compared;
        } else {
          EXPECT_TRUE(at::equal(weight, base.read(name))) << layout << ": " << key;
        }
      }
    }
    EXPECT_EQ(compared, expected.tensors().size()) << layout;
    EXPECT_GT(compared, 5U) << layout;
  }
}

}  // namespace
}  // namespace fusegrid
