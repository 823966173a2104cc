#include "checkpoint/quantised.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Tensors = std::vector<TensorInfo>;

const Tensors kPlain{{"q_proj.weight", {8, 8}, at::kBFloat16}};

void expect_quantised(const json& config, const Tensors& tensors, const std::string& sign) {
  const std::string message =
      message_of<ConfigError>([&] { check_not_quantised("models/a", config, tensors); });
  EXPECT_THAT(message,
              testing::AllOf(HasSubstr("'models/a' is quantised"), HasSubstr(sign), HasSubstr("dequantise")));
}

TEST(Quantised, configurations_that_say_so_are_refused) {
  for (const std::string method :
       {"gptq", "awq", "bitsandbytes", "compressed-tensors", "fbgemm_fp8", "torchao", "hqq", "eetq", "quanto",
        "fp8", "mxfp4", "aqlm", "a-method-to-come"}) {
    expect_quantised({{"quantization_config", {{"quant_method", method}}}}, kPlain, "(" + method + ")");
    expect_quantised({{"text_config", {{"quantization_config", {{"quant_method", method}}}}}}, kPlain,
                     "text_config.quantization_config");
  }
  expect_quantised({{"quantization_config", {{"load_in_8bit", true}, {"load_in_4bit", false}}}}, kPlain,
                   "quantization_config");
  expect_quantised({{"quantization", {{"group_size", 64}, {"bits", 4}}}}, kPlain, "quantization");  // MLX
  expect_quantised({{"compression_config", {{"format", "pack-quantized"}}}}, kPlain, "compression_config");
}

TEST(Quantised, tensors_that_are_parts_of_quantised_weights_are_refused) {
  const auto with = [](const std::string& name, at::ScalarType dtype, const std::string& scale = "",
                       at::ScalarType of_scale = at::kFloat) {
    Tensors tensors = kPlain;
    tensors.push_back({name, {8, 8}, dtype});
    if (!scale.empty()) {
      tensors.push_back({scale, {8, 1}, of_scale});
    }
    return tensors;
  };
  for (const std::string name :
       {"q.qweight", "q.qzeros", "q.weight", "q.weight_packed", "q.W_q", "q.weight._data", "q.codes",
        "q.Qidxs", "experts.gate_up_proj_blocks", "q.weight_zero_point"}) {
    for (const at::ScalarType dtype : {at::kInt, at::kByte, at::kChar}) {
      expect_quantised({}, with(name, dtype), "'" + name + "'");
    }
  }
  for (const std::string scale :
       {"q.weight_scale", "q.weight_scale_inv", "q.scales", "q.scale", "q.weight.absmax", "q.weight._scale",
        "q.SCB", "q.input_scale", "q.weight_scale_2"}) {
    expect_quantised({}, with("q.weight", at::kFloat8_e4m3fn, scale), scale);
    expect_quantised({}, with("q.weight", at::kFloat8_e5m2, scale, at::kBFloat16), scale);
  }
  expect_quantised({}, with("q.weight_scale", at::kFloat8_e8m0fnu), "holds scales alone");
}

TEST(Quantised, plain_models_are_not) {
  for (const json& config :
       {json(), json::object(), json{{"quantization_config", nullptr}},
        json{{"quantization_config", json::object()}},
        json{{"quantization_config",
              {{"load_in_8bit", false}, {"load_in_4bit", false}, {"quant_method", "bitsandbytes"}}}},
        json{{"text_config", {{"quantization_config", nullptr}}}}}) {
    EXPECT_NO_THROW(check_not_quantised("a", config, kPlain)) << config;
  }
  const Tensors buffers{{"bn.num_batches_tracked", {}, at::kLong},
                        {"embeddings.position_ids", {1, 77}, at::kLong},
                        {"attn.relative_position_index", {49, 49}, at::kLong},
                        {"attn.logit_scale", {4, 1, 1}, at::kFloat},  // SwinV2, beside the index
                        {"h.0.attn.bias", {1, 1, 8, 8}, at::kByte},
                        {"mask", {8, 8}, at::kBool},
                        {"layer_scale", {8}, at::kFloat}};
  EXPECT_NO_THROW(check_not_quantised("a", {}, buffers));
  const Tensors float8{{"norm.weight", {8}, at::kFloat8_e4m3fn},
                       {"norm.scale", {8}, at::kFloat8_e4m3fn},  // all of the model is float8
                       {"q.weight", {8, 8}, at::kFloat8_e4m3fn},
                       {"q.bias", {8}, at::kFloat}};
  EXPECT_NO_THROW(check_not_quantised("a", {}, float8));
}

}  // namespace
}  // namespace fusegrid
