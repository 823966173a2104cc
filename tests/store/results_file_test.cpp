#include "store/results_file.h"

#include <cstdlib>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/digest.h"
#include "store/hdf5.h"
#include "support.h"
#include "support/source_folder.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Records some_records(int run, const std::vector<RunInfo>& runs = {grid_run()}) {
  Records records;
  records.runs = runs;
  for (const auto& info : runs) {
    for (const auto& [key, value] : info.bindings) {
      records.bindings.emplace(key, Binding{value, 0});
    }
    records.methods[info.methods[0].name] = info.methods[0];
    records.tasks[{info.tasks[0].zoo, info.tasks[0].task}] = info.tasks[0];
  }
  records.examples.emplace(some_examples().key(), some_examples());
  records.plans["grid"] = {cell_name(0), cell_name(1), "zoo-small/experts=8/later/seed=0/mnist@clean"};
  auto& results = records.results;
  for (int i = 0; i < 5; ++i) {
    results[cell_name(i)] = make_result(i, run);
  }
  results[cell_name(2)].status = Status::kInvalid;
  results[cell_name(2)].metrics[0].value =
      run == 0 ? std::numeric_limits<double>::quiet_NaN() : -std::numeric_limits<double>::quiet_NaN();
  results[cell_name(9)] = make_failed(9);
  return records;
}

std::string table_text(const fs::path& path, const std::string& name, const Table& columns) {
  const auto table = hdf5::File::open(path).root().dataset(name).read_table(columns.columns());
  return metrics_digest(table);
}

TEST(ResultsFile, ReadsBackAsWritten) {
  const TemporaryFolder folder;
  const auto content = make_results_file(some_records(0, {grid_run(), grid_run()}), 17);
  write_bytes(folder.path() / "a.h5", encode_results_file(content));
  const auto back = decode_results_file(folder.path() / "a.h5");
  EXPECT_NO_THROW(compare_results_files(content, back, "a.h5"));
  EXPECT_EQ(back.sequence, 17U);
  EXPECT_EQ(back.metrics.num_rows(), 15U);
  EXPECT_EQ(back.metrics.text(0, "zoo"), "zoo-small");
  EXPECT_EQ(back.metrics.text(0, "experts"), "8");
  EXPECT_EQ(back.metrics.text(0, "method"), "ties");
  EXPECT_EQ(back.metrics.text(0, "parameters"), "density=0.2,scale=0");
  EXPECT_EQ(back.metrics.integer(0, "seed"), 1);
  EXPECT_EQ(back.metrics.text(0, "task"), "mnist");
  EXPECT_EQ(back.metrics.text(0, "shift"), "clean");
  EXPECT_EQ(back.metrics.text(0, "metric"), "accuracy");
  EXPECT_EQ(back.metrics.text(0, "split"), "test");
  EXPECT_EQ(back.metrics.real(3, "value"), 0.5);
  EXPECT_EQ(back.metrics.integer(3, "count"), 5);
  EXPECT_EQ(back.runs.text(0, "git"), "1234abc");
  EXPECT_EQ(back.runs.text(0, "started"), "2026-01-31T12:00:00Z");
}

TEST(ResultsFile, SameContentGivesTheSameBytes) {
  const auto content = make_results_file(some_records(0), 17);
  EXPECT_EQ(sha256_hex(encode_results_file(content)), sha256_hex(encode_results_file(content)));
}

TEST(ResultsFile, MetricsFactsAndOutcomesDoNotDependOnTheRun) {
  const auto one = make_results_file(some_records(0), 17);
  const auto two = make_results_file(some_records(3, {grid_run(), grid_run()}), 99);
  EXPECT_EQ(first_difference(one.metrics, two.metrics), "");
  EXPECT_EQ(metrics_digest(one.metrics), metrics_digest(two.metrics));
  EXPECT_EQ(first_difference(one.facts.index, two.facts.index), "");
  EXPECT_EQ(one.facts.text, two.facts.text);
  EXPECT_EQ(one.cell_bindings.text, two.cell_bindings.text);
  EXPECT_EQ(first_difference(one.outcomes_index, two.outcomes_index), "");
  EXPECT_EQ(one.outcomes_u8, two.outcomes_u8);
  EXPECT_EQ(one.outcomes_f32, two.outcomes_f32);
  EXPECT_EQ(one.predictions, two.predictions);
  EXPECT_NE(first_difference(one.costs, two.costs), "");
  const TemporaryFolder folder;
  write_bytes(folder.path() / "one.h5", encode_results_file(one));
  write_bytes(folder.path() / "two.h5", encode_results_file(two));
  EXPECT_EQ(table_text(folder.path() / "one.h5", "metrics", one.metrics),
            table_text(folder.path() / "two.h5", "metrics", two.metrics));
}

TEST(ResultsFile, EveryDifferenceIsNamed) {
  const auto content = make_results_file(some_records(0), 17);
  const auto message = [&](const std::function<void(std::map<std::string, Result>&)>& change) {
    auto records = some_records(0);
    change(records.results);
    return error_of<DataError>([&] { compare_results_files(content, make_results_file(records, 17), "f"); });
  };
  auto& name = cell_name;
  EXPECT_THAT(message([&](auto& r) { r[name(0)].metrics[0].value = 1e-9; }), HasSubstr("f:/metrics, row 2"));
  EXPECT_THAT(message([&](auto& r) { r[name(0)].facts["weights_sha256"] = "x"; }), HasSubstr("/facts"));
  EXPECT_THAT(message([&](auto& r) { r[name(0)].outcomes[0].rows[0] = 0; }), HasSubstr("/outcomes/u8"));
  EXPECT_THAT(message([&](auto& r) { r[name(0)].outcomes[1].rows[0] = 0; }), HasSubstr("/outcomes/f32"));
  EXPECT_THAT(message([&](auto& r) { r[name(0)].bindings["parameters"] = "x"; }),
              HasSubstr("/cell_bindings"));
  EXPECT_THAT(message([&](auto& r) { r[name(0)].predictions[0].classes[0] = 9; }),
              HasSubstr("/predictions/class"));
  EXPECT_THAT(message([&](auto& r) { r[name(9)].log_tail = "?"; }), HasSubstr("/logs"));
  EXPECT_THAT(message([&](auto& r) { r.erase(name(1)); }), HasSubstr("/metrics"));
}

TEST(ResultsFile, EmptyAndZooFilesAreReadable) {
  const TemporaryFolder folder;
  RunInfo run = grid_run();
  run.kind = "zoo";
  Records records;
  records.runs = {run};
  write_bytes(folder.path() / "empty.h5", encode_results_file(make_results_file(records, 1)));
  EXPECT_TRUE(read_results_h5(folder.path() / "empty.h5").results.empty());
  auto& results = records.results;
  results["small/seed=0/mnist"] = make_result(1);
  results["small/seed=0/mnist"].name = "small/seed=0/mnist";
  const auto content = make_results_file(records, 2);
  EXPECT_EQ(content.metrics.text(0, "cell"), "small/seed=0/mnist");
  EXPECT_EQ(
      content.metrics.text(0, "zoo") + content.metrics.text(0, "task") + content.metrics.text(0, "shift"),
      "");
}

TEST(ResultsFile, GivesResultsWithoutAJournal) {
  const TemporaryFolder folder;
  const auto records = some_records(1);
  write_bytes(folder.path() / "a.h5", encode_results_file(make_results_file(records, 17)));
  const auto read = read_results_h5(folder.path() / "a.h5");
  const auto& back = read.results;
  ASSERT_EQ(back.size(), records.results.size());
  for (const auto& [name, result] : back) {
    auto expected = records.results.at(name);
    if (expected.status == Status::kValid) {
      std::sort(expected.metrics.begin(), expected.metrics.end(), [](const Metric& a, const Metric& b) {
        return std::pair(a.name, a.split) < std::pair(b.name, b.split);
      });
      EXPECT_TRUE(same(result, expected)) << result.name;
    }
  }
  EXPECT_TRUE(same(back.at(cell_name(9)), make_failed(9)));
  EXPECT_EQ(read.methods, records.methods);
  EXPECT_EQ(read.tasks, records.tasks);
  EXPECT_EQ(read.plans, records.plans);
  EXPECT_EQ(read.missing(), std::vector{records.plans.at("grid").back()});
  EXPECT_EQ(read.bindings.at("zoo-small/1/base").value, "aa");
  ASSERT_EQ(read.examples.size(), 1U);
  EXPECT_EQ(read.examples.begin()->second.labels, some_examples().labels);
  EXPECT_EQ(read.examples.begin()->second.groups, some_examples().groups);
  EXPECT_EQ(metrics_sha256(folder.path() / "a.h5").size(), 64U);
  EXPECT_THROW(read_results_h5(folder.path() / "none.h5"), IoError);
}

TEST(ResultsFile, RefusesAnotherVersion) {
  const TemporaryFolder folder;
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", "fusegrid-results");
    root.set_attribute("version", int64_t{1});
  }
  write_bytes(folder.path() / "a.h5", file.finish());
  EXPECT_THAT(error_of<DataError>([&] { read_results_h5(folder.path() / "a.h5"); }),
              AllOf(HasSubstr("has version 1"), HasSubstr("run the job again")));
  write_bytes(folder.path() / "b.h5", "no HDF5 at all");
  EXPECT_THAT(error_of<DataError>([&] { metrics_sha256(folder.path() / "b.h5"); }), HasSubstr("HDF5"));
}

TEST(Table, CleansTextToUtf8) {
  EXPECT_EQ(clean_text("a\xc3\xa4z", 10), "a\xc3\xa4z");
  EXPECT_EQ(clean_text("a\xc3\xa4z", 2), "a");
  EXPECT_EQ(clean_text(std::string("a\0b\xff\xc3", 5), 10), "a?b??");
  EXPECT_EQ(clean_text("\xed\xa0\x80", 10), "???");
  EXPECT_EQ(clean_text("\xf0\x9f\x98\x80", 10), "\xf0\x9f\x98\x80");
}

// The Python code of docs/results_format.md (but for pandas) does what the page says.
TEST(ResultsFile, PythonExampleOfTheDocumentationWorks) {
  const char* chosen = std::getenv("FUSEGRID_PYTHON");
  const std::string python = chosen == nullptr ? "python3" : chosen;
  if (std::system((python + " -c 'import h5py' >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << "'" << python << "' cannot import h5py (set FUSEGRID_PYTHON to one that can)";
  }
  const TemporaryFolder folder;
  const auto content = make_results_file(some_records(0), 17);
  write_bytes(folder.path() / "results.h5", encode_results_file(content));
  const std::string page = read_bytes(source_folder() / "docs/results_format.md");
  std::string code;
  for (size_t at = page.find("```python\n"); at != std::string::npos; at = page.find("```python\n", at + 1)) {
    const size_t begin = at + 10;
    const std::string block = page.substr(begin, page.find("```", begin) - begin);
    code += block.find("pandas") == std::string::npos ? block : "";
  }
  ASSERT_THAT(code, HasSubstr("h5py"));
  code += "assert len(rows) == 15 and rows[3]['value'] == 0.5 and rows[0]['task'] == b'mnist'\n";
  code +=
      "assert correct.tolist() == [1, 0, 1, 0, 1] and predictions.tolist() == [1, 2, 3, 4, 0] and fact == "
      "'abc0'\n";
  write_bytes(folder.path() / "example.py", code);
  const std::string command = "cd " + folder.path().string() + " && " + python + " example.py > out.txt";
  ASSERT_EQ(std::system(command.c_str()), 0) << code;
  EXPECT_EQ(read_bytes(folder.path() / "out.txt"), metrics_digest(content.metrics) + "\n");
}

}  // namespace
}  // namespace fusegrid::test
