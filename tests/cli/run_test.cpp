#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/invoke.h"
#include "zoo/support.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

// A zoo that is there as far as its description goes: all that is looked at before its task pack.
void describe_zoo(const std::filesystem::path& folder) {
  const nlohmann::json replicate = {{"seed", 0},
                                    {"base", "model"},
                                    {"heads", "model"},
                                    {"experts", {{"bars", "model"}, {"rows", "model"}}},
                                    {"digests", nlohmann::json::object()},
                                    {"scores", nlohmann::json::object()}};
  std::filesystem::create_directories(folder / "model");
  write_text(folder / "zoo.json", nlohmann::json{{"format", "fusegrid-zoo"},
                                                 {"version", 1},
                                                 {"name", "tiny"},
                                                 {"scale", "tiny"},
                                                 {"suite", "tiny"},
                                                 {"pack", "pack.h5"},
                                                 {"pack_sha256", ""},
                                                 {"tasks", {"bars", "rows"}},
                                                 {"replicates", nlohmann::json::array({replicate})}}
                                      .dump());
}

TEST(Run, refuses_a_task_pack_with_an_empty_split_before_anything_is_written) {
  const TemporaryFolder folder;
  describe_zoo(folder / "tiny");
  test::write_tiny_pack(folder / "tiny/pack.h5", 20, 0);
  write_text(folder / "job.cfg", "zoo = " + (folder / "tiny").string() + "\n[simple_average]\n");

  const Ran ran = invoke({"run", (folder / "job.cfg").string(), "--results", (folder / "results").string()});

  EXPECT_EQ(ran.code, ExitCode::kDataCorrupt);
  EXPECT_THAT(ran.err, HasSubstr("/tasks/bars/test: there must be at least one example"));
  EXPECT_FALSE(std::filesystem::exists(folder / "results"));
}

}  // namespace
}  // namespace fusegrid
