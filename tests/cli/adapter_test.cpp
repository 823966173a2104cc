#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/peft_golden.h"
#include "cli/invoke.h"
#include "core/philox.h"
#include "support/temporary_folder.h"

namespace fusegrid::adapter_command_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class AdapterCommand : public testing::Test {
 protected:
  AdapterCommand() {
    const Weights base{{"layers.0.q.weight", peft_numbers(1, {6, 5})}, {"norm.weight", peft_numbers(2, {5})}};
    const Weights tuned{{"layers.0.q.weight", base.at("layers.0.q.weight") + peft_numbers(3, {6, 5}) * 0.1},
                        {"norm.weight", base.at("norm.weight") + 0.1}};
    save_hf_folder(folder_ / "base", base, {{"model_type", "test"}});
    save_hf_folder(folder_ / "tuned", tuned, {{"model_type", "test"}});
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  Ran extract(const std::vector<std::string>& more, const std::string& out = "adapter") const {
    std::vector<std::string> words{"adapter", "extract",     "--base", path("base"),
                                   "--model", path("tuned"), "--out",  path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return invoke(words);
  }

  TemporaryFolder folder_;
};

TEST_F(AdapterCommand, ExtractsMergesAndTellsWhatIsMissing) {
  const Ran first = extract({"--rank", "2", "--base-name", "hub/base"});
  ASSERT_EQ(first.code, ExitCode::kOk) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("layers.0.q  6 x 5      2"), HasSubstr("norm.weight"),
                               HasSubstr("factors of 1 module;"), HasSubstr("of the change is missing")));
  const auto config = nlohmann::json::parse(read_text(folder_ / "adapter/adapter_config.json"));
  EXPECT_EQ(config.at("base_model_name_or_path"), "hub/base");
  const Ran second = extract({"--energy", "0.5", "--rest", "drop", "--quiet"}, "other");
  ASSERT_EQ(second.code, ExitCode::kOk) << second.err;
  EXPECT_THAT(second.out + second.err, IsEmpty());

  std::vector<std::string> merge{"adapter",   "merge",         "--method",  "task_arithmetic{scale=0.5}",
                                 "--adapter", path("adapter"), "--adapter", "b=" + path("other"),
                                 "--base",    path("base"),    "--out",     path("merged")};
  auto dry = merge;
  dry.push_back("--dry-run");
  EXPECT_THAT(invoke(dry).out, HasSubstr("2 adapters with 1 module fit together; nothing was written"));
  EXPECT_FALSE(std::filesystem::exists(path("merged")));
  const Ran merged = invoke(merge);
  ASSERT_EQ(merged.code, ExitCode::kOk) << merged.err;
  EXPECT_THAT(merged.out,
              AllOf(HasSubstr("factors of 1 module;"), HasSubstr("of the merged update is missing")));
  EXPECT_THAT(merged.err, HasSubstr("the adapters name other bases"));
  const auto record = nlohmann::json::parse(read_text(folder_ / "merged/fusegrid_adapter.json"));
  EXPECT_EQ(record.at("adapters").at(1).at("name"), "b");
  EXPECT_EQ(invoke(merge).code, ExitCode::kConfig);  // is there
}

TEST_F(AdapterCommand, SaysWhatIsWrongWithACommandLine) {
  const auto expect_usage = [](const Ran& ran, const std::string& what) {
    EXPECT_EQ(ran.code, ExitCode::kUsage);
    EXPECT_THAT(ran.err, HasSubstr(what));
  };
  expect_usage(invoke({"adapter"}), "extract, merge");
  expect_usage(invoke({"adapter", "extrat"}), "did you mean 'extract'?");
  expect_usage(invoke({"adapter", "extract"}), "needs --base");
  expect_usage(extract({}), "needs --rank R or --energy E");
  expect_usage(extract({"--rank", "2", "--rest", "keep"}), "drop, save or refuse, but it is 'keep'");
  expect_usage(extract({"--rank", "2", "--alpha", "0"}), "--alpha must be above 0");
  expect_usage(invoke({"adapter", "merge", "--method", "ties", "--out", path("x")}), "needs --adapter DIR");
  const Ran other =
      invoke({"adapter", "merge", "--method", "linear", "--adapter", path("base"), "--out", path("x")});
  EXPECT_THAT(other.err, HasSubstr("is no adapter"));
  EXPECT_EQ(extract({"--rank", "0"}).code, ExitCode::kConfig);
  EXPECT_FALSE(std::filesystem::exists(path("adapter")));
}

TEST_F(AdapterCommand, NamesPeftsCombinations) {
  ASSERT_EQ(extract({"--rank", "2", "--quiet"}).code, ExitCode::kOk);
  const Ran ran =
      invoke({"adapter", "merge", "--method", "linear", "--adapter", path("adapter"), "--out", path("x")});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, HasSubstr("is called 'peft_linear' here"));
}

}  // namespace
}  // namespace fusegrid::adapter_command_test
