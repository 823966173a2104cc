#include "checkpoint/pipeline_folder.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class PipelineIndex : public testing::Test {
 protected:
  std::string refused(const std::string& index) {
    write_text(folder_ / "model_index.json", index);
    return message_of<Error>([&] { PipelineFolder(folder_.path(), {}); });
  }
  TemporaryFolder folder_;
};

TEST_F(PipelineIndex, lists_what_has_a_folder) {
  save_hf_folder(folder_ / "unet", {{"w", at::ones({2})}}, {{"x", 1}});
  fs::create_directory(folder_ / "scheduler");
  write_text(folder_ / "model_index.json",
             R"({"_class_name": "P", "_x": ["a", "b"], "flag": true, "safety_checker": [null, null],
                 "scheduler": ["diffusers", "S"], "unet": ["diffusers", "U"]})");
  const PipelineFolder pipeline(folder_.path(), {});
  EXPECT_EQ(pipeline.class_name, "P");
  EXPECT_THAT(pipeline.names(), ElementsAre("scheduler", "unet"));
  EXPECT_THAT(pipeline.networks(), ElementsAre("unet"));
  EXPECT_EQ(pipeline.components.at("unet").class_name, "U");
}

TEST_F(PipelineIndex, what_is_no_index_is_refused) {
  EXPECT_THAT(message_of<ConfigError>([&] { PipelineFolder(folder_.path(), {}); }),
              HasSubstr("must hold model_index.json"));
  EXPECT_THAT(refused("[]"), HasSubstr("the string _class_name"));
  EXPECT_THAT(refused(R"({"_class_name": "P", "../unet": ["diffusers", "U"]})"),
              HasSubstr("name components by"));
  EXPECT_THAT(refused(R"({"_class_name": "P", "unet": ["diffusers", "U"]})"),
              HasSubstr("must be a folder, but there is none"));
}

TEST_F(PipelineIndex, components_in_the_cache_of_a_hub_are_links_to_its_blobs) {
  const fs::path snapshot = folder_ / "models--a/snapshots/1";
  fs::create_directories(snapshot / "unet");
  fs::create_directories(folder_ / "models--a/blobs");
  save_hf_folder(folder_ / "model", {{"w", at::ones({2})}}, {{"x", 1}});
  for (const std::string file : {"config.json", "model.safetensors"}) {
    fs::rename(folder_ / "model" / file, folder_ / "models--a/blobs" / file);
    fs::create_symlink("../../../blobs/" + file, snapshot / "unet" / file);
  }
  EXPECT_EQ(HfFolder(snapshot / "unet", {.allow_symlinks = true}).tensors().size(), 1);
  fs::remove(snapshot / "unet/config.json");
  write_text(folder_ / "elsewhere", "{}");
  fs::create_symlink("../../../../elsewhere", snapshot / "unet/config.json");
  EXPECT_THROW(HfFolder(snapshot / "unet", {.allow_symlinks = true}), ConfigError);
}

}  // namespace
}  // namespace fusegrid
