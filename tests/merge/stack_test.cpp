// Stacks of layers as inputs of merges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

class Stacks : public testing::Test {
 protected:
  Stacks() {
    for (const char* name :
         {"base", "expert0", "expert1"}) {  // their ten layers are not known to config.json yet
      write_text(models.folder / name / "config.json", R"({"model_type": "test", "num_hidden_layers": 10})");
    }
  }
  std::string path(const std::string& name) const { return (models.folder / name).string(); }
  std::string stack_of(const std::string& name) const {
    return path(name) + "[0:7]+" + path(name) + "[3:10]";
  }
  Weights folder(const std::string& name) const { return HfFolder(models.folder / name).read_all(); }
  // The same by hand: layers 0 to 6, then 3 to 9.
  static Weights stacked(const Weights& model) {
    Weights all;
    for (const auto& [name, tensor] : model) {
      if (!name.starts_with("layers.")) {
        all[name] = tensor;
      }
    }
    for (int layer = 0; layer < 14; ++layer) {
      const int theirs = layer < 7 ? layer : layer - 4;
      all["layers." + std::to_string(layer) + ".weight"] =
          model.at("layers." + std::to_string(theirs) + ".weight");
    }
    return all;
  }
  MergeSpec spec(const std::string& method, const std::vector<std::string>& experts) const {
    MergeSpec spec;
    for (const std::string& expert : experts) {
      spec.experts.push_back({"e" + std::to_string(spec.experts.size()), expert});
    }
    spec.methods.push_back({method, {}});
    spec.out = models.folder / "out";
    return spec;
  }

  Checkpoints models{2, at::kBFloat16};
};

TEST_F(Stacks, pass_through_to_the_bit_on_any_number_of_ranks) {
  for (const int ranks : {1, 3}) {
    const MergeSpec stack = spec("passthrough", {stack_of("expert0")});
    merge(stack, ranks);
    EXPECT_EQ(folder_digest(stack.out), digest(stacked(folder("expert0"))));
    const auto config = nlohmann::json::parse(read_text(stack.out / "config.json"));
    EXPECT_EQ(config.at("num_hidden_layers"), 14);
    EXPECT_TRUE(verify_merged(stack.out).front().differences.empty());
    EXPECT_TRUE(std::filesystem::exists(stack.out / "tokenizer.json"));
    std::filesystem::remove_all(stack.out);
  }
}

TEST_F(Stacks, are_merged_as_the_models_they_are) {
  MergeSpec stacks = spec("task_arithmetic", {stack_of("expert0"), stack_of("expert1")});
  stacks.base = stack_of("base");
  merge(stacks, 2);
  MergeSpec whole = spec("task_arithmetic", {path("expert0"), path("expert1")});
  whole.base = path("base");
  whole.out = models.folder / "whole";
  merge(whole, 1);
  EXPECT_EQ(folder_digest(stacks.out), digest(stacked(folder("whole"))));
}

TEST_F(Stacks, of_other_heights_do_not_fit) {
  const std::string message = message_of<ConfigError>([&] {
    plan_merge(spec("simple_average", {stack_of("expert0"), path("expert1")}));
  });
  EXPECT_THAT(message, HasSubstr("lacks layers.10.weight"));
}

TEST_F(Stacks, without_a_number_of_layers_in_the_configuration_are_refused_at_once) {
  write_text(models.folder / "expert0" / "config.json", R"({"model_type": "test"})");
  const std::string message =
      message_of<ConfigError>([&] { plan_merge(spec("passthrough", {stack_of("expert0")})); });
  EXPECT_THAT(message, HasSubstr("must have its 10 layers as one of num_hidden_layers"));
}

}  // namespace
}  // namespace fusegrid
