#include "checkpoint/synthetic.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/std.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/model_spec.h"
#include "checkpoint/synthetic_noise.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

SyntheticRequest small_llama() {
  SyntheticRequest request;
  request.shape.layers = 2;
  request.shape.hidden = 64;
  request.shape.intermediate = 96;
  request.shape.heads = 4;
  request.shape.kv_heads = 2;
  request.shape.vocab = 1100;  // an embedding of more than one block
  return request;
}

SyntheticRequest small_clip() {
  SyntheticRequest request;
  request.shape = default_shape(SyntheticLayout::kClipVision);
  request.shape.layers = 1;
  request.shape.hidden = 24;
  request.shape.intermediate = 40;
  request.shape.heads = 3;
  return request;
}

// name below `folder` -> content
std::map<std::string, std::string> contents(const std::filesystem::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      found.emplace(entry.path().lexically_relative(folder).string(), read_text(entry.path()));
    }
  }
  return found;
}

std::map<std::string, std::string> written(const SyntheticRequest& request) {
  const TemporaryFolder folder;
  write_synthetic(request, folder / "out");
  EXPECT_EQ(folder.names(), std::set<std::string>{"out"});
  return contents(folder / "out");
}

TEST(Synthetic, the_same_bytes_for_any_number_of_threads) {
  SyntheticRequest request = small_llama();
  request.shard_bytes = 100'000;
  const auto one = written(request);
  request.threads = 4;
  EXPECT_TRUE(written(request) == one);
  request.seed = 1;
  EXPECT_FALSE(written(request) == one);
}

TEST(Synthetic, an_expert_does_not_depend_on_the_others) {
  SyntheticRequest request = small_llama();
  request.experts = 3;
  auto three = written(request);
  request.experts = 1;
  for (const auto& [name, text] : written(request)) {
    EXPECT_TRUE(text == three[name]) << name;
  }
}

TEST(Synthetic, a_value_is_its_number_of_philox) {
  const TemporaryFolder folder;
  SyntheticRequest request = small_llama();
  request.dtype = at::kFloat;
  request.seed = 5;
  write_synthetic(request, folder / "out");
  const std::string name = "model.embed_tokens.weight";
  const uint64_t stream = derive_key(0, name);
  const uint64_t element = 65'536 + 77;  // of the second block
  const auto number = [&](const std::string& model) {
    return normal_of_word(philox(derive_key(5, "synth/" + model), stream, element / 4)[element % 4]);
  };
  const auto value = [&](const std::string& model) {
    float read = 0;
    HfFolder(folder / "out" / model).read_range(name, static_cast<int64_t>(element), 1, &read);
    return read;
  };
  EXPECT_EQ(value("base"), 0.02F * number("base"));
  EXPECT_EQ(value("expert-1"), value("base") + 3e-4F * number("expert-1"));
}

TEST(Synthetic, experts_are_the_base_and_small_noise) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const TemporaryFolder folder;
    SyntheticRequest request = small_llama();
    request.dtype = dtype;
    write_synthetic(request, folder / "out");
    const HfFolder base(folder / "out/base");
    const HfFolder expert(folder / "out/expert-0");
    const HfFolder other(folder / "out/expert-1");
    const std::string name = "model.embed_tokens.weight";
    const at::Tensor values = base.read(name).to(at::kDouble);
    const at::Tensor noise = expert.read(name).to(at::kDouble) - values;
    EXPECT_EQ(base.info(name).dtype, dtype);
    EXPECT_NEAR(values.mean().item<double>(), 0, 3e-4);
    EXPECT_NEAR(values.std().item<double>(), 0.02, 2e-4);
    EXPECT_NEAR(noise.mean().item<double>(), 0, 1e-5);
    EXPECT_NEAR(noise.std().item<double>(), 3e-4, 1e-5);
    EXPECT_FALSE(at::equal(expert.read(name), other.read(name)));
    EXPECT_NEAR(base.read("model.norm.weight").to(at::kDouble).mean().item<double>(), 1, 0.02);
  }
}

TEST(Synthetic, shards_hold_at_most_their_size_and_open_with_their_index) {
  const TemporaryFolder folder;
  SyntheticRequest request = small_llama();
  request.shard_bytes = 60'000;
  write_synthetic(request, folder / "out");
  const HfFolder base(folder / "out/base");
  const auto folders = plan_synthetic(request);
  ASSERT_EQ(folders.size(), 3U);
  EXPECT_EQ(folders[0].tensors, static_cast<int64_t>(base.tensors().size()));
  int64_t files = 0;
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "out/base")) {
    if (entry.path().extension() == ".safetensors") {
      ++files;
      const SafetensorsFile file(entry.path());
      int64_t held = 0;
      for (const auto& tensor : file.tensors()) {
        held += static_cast<int64_t>(tensor.end - tensor.begin);
      }
      EXPECT_TRUE(held <= 60'000 || file.tensors().size() == 1) << entry.path();
      bytes += held;
    }
  }
  EXPECT_EQ(folders[0].weight_files, files);
  EXPECT_GT(files, 4);
  EXPECT_EQ(folders[0].tensor_bytes, bytes);
  EXPECT_TRUE(std::filesystem::exists(
      folder / ("out/base/model-00001-of-0000" + std::to_string(files) + ".safetensors")));
}

TEST(Synthetic, llama_has_the_size_that_it_says) {
  const auto folders = plan_synthetic({});
  EXPECT_EQ(folders.front().parameters, 1'100'048'384);  // as published for TinyLlama-1.1B
  EXPECT_EQ(folders.front().tensors, 201);
  EXPECT_EQ(folders.front().tensor_bytes, 2'200'096'768);
  SyntheticRequest tied = small_llama();
  tied.shape.tied = true;
  EXPECT_EQ(plan_synthetic(small_llama())[0].parameters - plan_synthetic(tied)[0].parameters, 1100 * 64);
}

TEST(Synthetic, clip_has_the_tensors_of_the_published_tower) {
  SyntheticRequest request;
  request.shape = default_shape(SyntheticLayout::kClipVision);
  EXPECT_EQ(plan_synthetic(request).front().parameters, 87'456'000 + 512 * 768);
  const TemporaryFolder folder;
  write_synthetic(small_clip(), folder / "out");
  const HfFolder expert(folder / "out/expert-1");
  const HfFolder golden(source_folder() / "tests/golden/clip/vision_projection_uneven");
  for (const auto& tensor : golden.tensors()) {
    EXPECT_TRUE(expert.contains(tensor.name)) << tensor.name;
  }
  EXPECT_EQ(expert.tensors().size(), golden.tensors().size() + 1);
  EXPECT_TRUE(at::equal(expert.read("vision_model.embeddings.position_ids"), at::arange(50).view({1, 50})));
  EXPECT_EQ(expert.config()["model_type"], "clip_vision_model");
  EXPECT_TRUE(expert.preprocessor_config().has_value());
}

TEST(Synthetic, adapters_open_on_their_base_and_move_it_as_full_experts_do) {
  for (auto request : {small_llama(), small_clip()}) {
    const TemporaryFolder folder;
    request.lora_rank = 8;
    request.shape.hidden = 96;
    write_synthetic(request, folder / "out");
    const HfFolder base(folder / "out/base");
    const auto expert = open_model(folder / "out/expert-1", &base);
    int64_t changed = 0;
    for (const auto& tensor : expert->tensors()) {
      if (tensor.dtype != base.info(tensor.name).dtype) {
        ++changed;
        at::Tensor values = at::empty(tensor.shape, at::kFloat);
        expert->read_range(tensor.name, 0, tensor.numel(), values.mutable_data_ptr());
        const double moved = (values - base.read(tensor.name).to(at::kFloat)).std().item<double>();
        EXPECT_NEAR(moved, 3e-4, 1e-4) << tensor.name;
      }
    }
    const int64_t linears = request.shape.layout == SyntheticLayout::kLlama ? 7 : 6;
    EXPECT_EQ(changed, linears * request.shape.layers);
    EXPECT_NE(read_text(folder / "out/expert-0/adapter_model.safetensors"),
              read_text(folder / "out/expert-1/adapter_model.safetensors"));
  }
}

TEST(Synthetic, existing_folders_are_refused_and_left_alone) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "out");
  EXPECT_THAT(message_of<ConfigError>([&] { write_synthetic(small_llama(), folder / "out"); }),
              HasSubstr("exists; remove it or choose another"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "out"));
}

TEST(Synthetic, a_disk_that_is_too_small_is_refused_before_anything_is_written) {
  const TemporaryFolder folder;
  SyntheticRequest request;
  request.shape.hidden = 1 << 16;
  request.shape.intermediate = 1 << 20;  // 9 TB
  request.experts = 0;
  EXPECT_THAT(message_of<ConfigError>([&] { write_synthetic(request, folder / "out"); }),
              HasSubstr("the disk of"));
  EXPECT_TRUE(folder.names().empty());
}

TEST(Synthetic, sizes_that_do_not_fit_are_refused) {
  const auto refusal = [](auto change) {
    SyntheticRequest request = small_llama();
    change(request);
    return message_of<ConfigError>([&] { plan_synthetic(request); });
  };
  EXPECT_THAT(refusal([](auto& r) { r.shape.hidden = 66; }),
              HasSubstr("heads must divide hidden, but they are 4 and 66"));
  EXPECT_THAT(refusal([](auto& r) { r.shape.kv_heads = 3; }), HasSubstr("kv-heads must divide heads"));
  EXPECT_THAT(refusal([](auto& r) { r.shape.layers = 0; }),
              HasSubstr("layers of a synthetic model must be in [1, "));
  EXPECT_THAT(refusal([](auto& r) { r.shape.vocab = int64_t{1} << 40; }), HasSubstr("vocab"));
  EXPECT_THAT(refusal([](auto& r) { r.experts = -1; }),
              HasSubstr("experts must be in [0, 256], but it is -1"));
  EXPECT_THAT(refusal([](auto& r) { r.threads = 0; }), HasSubstr("threads must be in [1, 1024]"));
  EXPECT_THAT(refusal([](auto& r) { r.shard_bytes = 0; }), HasSubstr("shard size"));
  EXPECT_THAT(refusal([](auto& r) { r.lora_rank = 5000; }), HasSubstr("rank of adapters"));
}

}  // namespace
}  // namespace fusegrid
