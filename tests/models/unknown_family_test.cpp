#include "models/unknown_family.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

TEST(UnknownFamily, is_one_that_is_named_and_not_registered) {
  EXPECT_TRUE(is_of_unknown_family({{"model_type", "gemma9"}}));
  EXPECT_FALSE(is_of_unknown_family({{"model_type", "llama"}}));
  EXPECT_FALSE(is_of_unknown_family({{"hidden_size", 8}})) << "what names none is refused as it was";
  EXPECT_FALSE(is_of_unknown_family(nullptr));
}

TEST(UnknownFamily, has_the_floating_point_tensors_of_the_files) {
  const TemporaryFolder folder;
  save_hf_folder(
      folder / "model",
      {{"a.weight", at::ones({2, 3}).to(at::kBFloat16)}, {"positions", at::ones({4}).to(at::kLong)}},
      {{"model_type", "gemma9"}});
  const HfFolder model(folder / "model");
  const auto architecture = unknown_architecture(model);
  EXPECT_EQ(architecture->name(), "gemma9");
  ASSERT_EQ(architecture->parameters().size(), 1U);
  EXPECT_EQ(architecture->parameters()[0].name, "a.weight");
  EXPECT_EQ(architecture->parameters()[0].dtype, at::kFloat);
  EXPECT_EQ(architecture->blocks(), nullptr);
  EXPECT_TRUE(architecture->layers().empty());
  EXPECT_THAT(message_of<ConfigError>([&] { architecture->features({}, {}, Pooling::kNone); }),
              HasSubstr("'gemma9' are known by their tensors alone"));
}

TEST(UnknownFamily, settings_are_all_but_what_says_nothing_of_the_function) {
  const nlohmann::json config{{"model_type", "gemma9"}, {"eps", 0.1}, {"torch_dtype", "bfloat16"}};
  EXPECT_EQ(settings_of(config), (nlohmann::json{{"model_type", "gemma9"}, {"eps", 0.1}}));
}

}  // namespace
}  // namespace fusegrid
