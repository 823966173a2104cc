#include "worker/model_folder.h"

#include <fstream>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "models/tanh_readout.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "support/test_zoo.h"

namespace fusegrid::model_folder_test {
namespace {

using testing::HasSubstr;

std::string refusal(const std::function<void()>& call) {
  try {
    call();
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

// Heads that a method changed, as those of aligned models, are the merge's own.
TEST(HeadsOfMerge, are_those_of_its_own_readouts) {
  const at::Tensor weight = at::ones({3, 5});
  const at::Tensor bias = at::zeros({3});
  FusedModel model = one_model({{"x", weight}});
  model.readouts["plain"] = affine_readout(weight, bias, Pooling::kMean);
  model.readouts["deep"] =
      tanh_readout(weight * 2, bias + 1, affine_readout(at::ones({2, 3}), at::ones({2}), Pooling::kFirst));
  const Weights heads = heads_of_merge(model, Replicate{}, {"deep", "plain", "of_no_file"});
  expect_close(heads,
               {{"plain.weight", weight},
                {"plain.bias", bias},
                {"deep.hidden.weight", weight * 2},
                {"deep.hidden.bias", bias + 1},
                {"deep.weight", at::ones({2, 3})},
                {"deep.bias", at::ones({2})}},
               0);
}

TEST(HeadsOfMerge, are_refused_where_a_file_has_no_place_for_them) {
  FusedModel model = one_model({{"x", at::ones({1})}});
  model.readouts["task"] = cosine_readout(at::ones({2, 3}), 1, at::ones({3, 5}));
  EXPECT_THAT(refusal([&] { heads_of_merge(model, Replicate{}, {"task"}); }), HasSubstr("head of cosines"));
}

TEST(ModelFolder, is_refused_for_layers_that_its_config_does_not_have) {
  const TestZoo zoo = unit_zoo(2, 2);
  const Architecture& architecture = *zoo.network->architecture;
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "base");
  std::ofstream(folder / "base/config.json")
      << R"({"model_type": "mlp", "image_size": 8, "hidden_sizes": [10, 8]})";
  write_safetensors(folder / "base/model.safetensors", zoo.base);
  const auto write = [&](const std::string& call, const std::string& name) {
    const Weights weights = zoo.fuse(call).weights;
    write_model_folder(folder / name,
                       {.base = folder / "base", .architecture = architecture, .parameters = weights});
  };
  EXPECT_EQ(refusal([&] { write("zipit", "zipped"); }), "");
  EXPECT_TRUE(std::filesystem::exists(folder / "zipped/config.json"));
  EXPECT_THAT(refusal([&] { write("zipit{apart=1}", "apart"); }), HasSubstr("wider layers"));
  EXPECT_FALSE(std::filesystem::exists(folder / "apart"));
}

}  // namespace
}  // namespace fusegrid::model_folder_test
