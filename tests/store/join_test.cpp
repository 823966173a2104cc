#include "store/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

RunInfo run_at(const std::string& started, const std::string& base = "aa") {
  RunInfo run = grid_run();
  run.provenance["started"] = started;
  run.bindings["zoo-small/1/base"] = base;
  return run;
}

void make_folder(const fs::path& folder, const RunInfo& run, const std::vector<Result>& results) {
  const auto store = ResultStore::open(folder, run);
  store->record_examples(some_examples());
  std::vector<std::string> names;
  for (const Result& result : results) {
    store->record(result);
    names.push_back(result.name);
  }
  store->record_plan("job", names);
  store->flush();
  store->publish();
}

TEST(Join, HoldsWhatBothFoldersHold) {
  const TemporaryFolder folder;
  make_folder(folder / "late", run_at("2026-02-02T00:00:00Z"),
              {make_result(0), make_failed(1), make_failed(3)});
  make_folder(folder / "early", run_at("2026-02-01T00:00:00Z"), {make_result(1, 2), make_result(2)});
  join_results({folder / "late", folder / "early"}, folder / "both");
  const auto store = ResultStore::read(folder / "both");
  ASSERT_EQ(store->results().size(), 4U);
  EXPECT_TRUE(same(store->results().at(cell_name(0)), make_result(0)));
  EXPECT_TRUE(same(store->results().at(cell_name(1)), make_result(1, 2))) << "the valid one";
  EXPECT_TRUE(same(store->results().at(cell_name(3)), make_failed(3)));
  ASSERT_EQ(store->runs().size(), 2U);
  EXPECT_EQ(store->runs()[0].provenance.at("started"), "2026-02-01T00:00:00Z");
  EXPECT_EQ(store->records().plans.at("job").size(), 4U);
  EXPECT_EQ(store->records().examples.size(), 1U);
  EXPECT_FALSE(verify_results(folder / "both").empty());
}

TEST(Join, HasTheNumbersOfOneRun) {
  const TemporaryFolder folder;
  make_folder(folder / "a", grid_run(), {make_result(0), make_result(2)});
  make_folder(folder / "b", grid_run(), {make_result(1)});
  make_folder(folder / "whole", grid_run(), {make_result(0), make_result(1), make_result(2)});
  join_results({folder / "a", folder / "b"}, folder / "ab");
  join_results({folder / "b", folder / "a"}, folder / "ba");
  const std::string whole = metrics_sha256(folder / "whole/results.h5");
  EXPECT_EQ(metrics_sha256(folder / "ab/results.h5"), whole);
  EXPECT_EQ(metrics_sha256(folder / "ba/results.h5"), whole);
}

TEST(Join, TakesTheResultThatWasTested) {
  const TemporaryFolder folder;
  Result validated = make_result(0);
  validated.metrics = {{"accuracy", "val", 0.5, 3}};
  validated.outcomes = {{"val", "accuracy", 1, {0, 0, 1}}};
  validated.predictions = {{"val", {7, 8, 9}}};
  make_folder(folder / "a", grid_run(), {validated});
  make_folder(folder / "b", grid_run(), {make_result(0)});
  join_results({folder / "a", folder / "b"}, folder / "both");
  EXPECT_TRUE(same(ResultStore::read(folder / "both")->results().at(cell_name(0)), make_result(0)));
}

TEST(Join, RefusesOtherModels) {
  const TemporaryFolder folder;
  make_folder(folder / "a", run_at("2026-02-01T00:00:00Z"), {make_result(0)});
  make_folder(folder / "b", run_at("2026-02-01T00:00:00Z", "bb"), {make_result(1)});
  EXPECT_THAT(error_of<ConfigError>([&] {
                join_results({folder / "a", folder / "b"}, folder / "both");
              }),
              AllOf(HasSubstr("zoo-small/1/base is aa in"), HasSubstr("bb in")));
  EXPECT_FALSE(fs::exists(folder / "both"));
}

TEST(Join, RefusesOtherNumbers) {
  const TemporaryFolder folder;
  Result other = make_result(0);
  other.metrics[1].value = 0.75;
  make_folder(folder / "a", grid_run(), {make_result(0)});
  make_folder(folder / "b", grid_run(), {other});
  EXPECT_THAT(error_of<ConfigError>([&] {
                join_results({folder / "a", folder / "b"}, folder / "both");
              }),
              AllOf(HasSubstr("1 have others"), HasSubstr(cell_name(0)), HasSubstr("fusegrid compare")));
  EXPECT_FALSE(fs::exists(folder / "both"));
}

TEST(Join, RefusesOtherExamples) {
  const TemporaryFolder folder;
  make_folder(folder / "a", grid_run(), {make_result(0)});
  {
    const auto store = ResultStore::open(folder / "b", grid_run());
    ExamplesRecord examples = some_examples();
    examples.labels[0] = 2;
    store->record_examples(examples);
    store->record(make_result(1));
    store->flush();
  }
  EXPECT_THAT(error_of<ConfigError>([&] {
                join_results({folder / "a", folder / "b"}, folder / "both");
              }),
              HasSubstr("task 'mnist', split 'test'"));
}

TEST(Join, RefusesAFolderTwiceAndOneThatIsThere) {
  const TemporaryFolder folder;
  make_folder(folder / "a", grid_run(), {make_result(0)});
  make_folder(folder / "b", grid_run(), {make_result(1)});
  EXPECT_THAT(error_of<ConfigError>([&] {
                join_results({folder / "a", folder / "a"}, folder / "both");
              }),
              HasSubstr("named twice"));
  EXPECT_THAT(error_of<ConfigError>([&] { join_results({folder / "a"}, folder / "both"); }),
              HasSubstr("two results folders"));
  EXPECT_THAT(error_of<ConfigError>([&] {
                join_results({folder / "a", folder / "b"}, folder / "b");
              }),
              HasSubstr("not empty"));
}

}  // namespace
}  // namespace fusegrid::test
