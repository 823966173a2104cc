#include "store/result_store.h"

#include <cmath>
#include <csignal>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "support.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ResultStore, GivesBackWhatWasRecorded) {
  const TemporaryFolder folder;
  Result strange = make_result(1);
  strange.status = Status::kInvalid;
  strange.reason = "NaN \xff in \xc3\xa4";
  strange.metrics[0].value = std::numeric_limits<double>::infinity();
  strange.metrics[1].value = 0.1 + 0.2;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->record(strange);
    store->record(make_failed(2));
    store->flush();
  }
  const auto store = ResultStore::read(folder.path());
  ASSERT_EQ(store->results().size(), 3U);
  EXPECT_TRUE(same(store->results().at(cell_name(0)), make_result(0)));
  EXPECT_TRUE(same(store->results().at(cell_name(1)), strange));
  EXPECT_TRUE(same(store->results().at(cell_name(2)), make_failed(2)));
  ASSERT_EQ(store->runs().size(), 1U);
  EXPECT_EQ(store->runs()[0].provenance, grid_run().provenance);
}

TEST(ResultStore, KeepsTheFirstValidResult) {
  const TemporaryFolder folder;
  auto store = ResultStore::open(folder.path(), grid_run());
  store->record(make_failed(0));
  store->record(make_result(0, 1));
  store->record(make_result(0, 2));
  EXPECT_EQ(store->results().at(cell_name(0)).worker, "host/rank1");
  store->record(make_failed(0));
  EXPECT_EQ(store->results().at(cell_name(0)).status, Status::kValid);
  store.reset();
  EXPECT_EQ(ResultStore::read(folder.path())->results().at(cell_name(0)).worker, "host/rank1");
}

TEST(ResultStore, ANewResultTakesThePlaceOfAFailedOrInvalidOne) {
  const TemporaryFolder folder;
  Result invalid = make_result(2);
  invalid.status = Status::kInvalid;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_failed(1));
    store->record(invalid);
    store->record(make_result(1));
    store->record(make_failed(2));
    store->publish();
  }
  const auto results = ResultStore::read(folder.path())->results();
  EXPECT_EQ(results.at(cell_name(1)).status, Status::kValid);
  EXPECT_EQ(results.at(cell_name(2)).status, Status::kFailed);
}

TEST(ResultStore, AddsARunPerLaunch) {
  const TemporaryFolder folder;
  ResultStore::open(folder.path(), {"grid", "a", nullptr, {}, {}, {}});
  ResultStore::open(folder.path(), {"grid", "b", {{"git", "x"}}, {}, {}, {}});
  const auto store = ResultStore::read(folder.path());
  ASSERT_EQ(store->runs().size(), 2U);
  EXPECT_EQ(store->runs()[1].plan_sha256, "b");
  EXPECT_TRUE(store->runs()[0].provenance.contains("started"));
}

TEST(ResultStore, RefusesAnotherKindAndChangesNothing) {
  const TemporaryFolder folder;
  ResultStore::open(folder.path(), grid_run());
  const auto before = read_bytes(folder.path() / "journal");
  EXPECT_THAT(error_of<DataError>([&] {
                ResultStore::open(folder.path(), {"zoo", "plan", {}, {}, {}, {}});
              }),
              HasSubstr("'grid', but this run makes 'zoo'"));
  EXPECT_EQ(read_bytes(folder.path() / "journal"), before);
}

TEST(ResultStore, RefusesAViewWithoutItsJournal) {
  const TemporaryFolder folder;
  ResultStore::open(folder.path(), grid_run())->publish();
  fs::remove(folder.path() / "journal");
  EXPECT_THAT(error_of<DataError>([&] { ResultStore::open(folder.path(), grid_run()); }),
              HasSubstr("without its journal"));
  EXPECT_THAT(error_of<IoError>([&] { ResultStore::read(folder.path()); }), HasSubstr("holds no results"));
}

// The models of a folder's results do not change under them.
TEST(ResultStore, RefusesAnotherValueOfARecordedBindingAndChangesNothing) {
  const TemporaryFolder folder;
  ResultStore::open(folder.path(), grid_run());
  RunInfo more = grid_run();
  more.bindings["zoo-small/1/expert/mnist"] = "bb";
  ResultStore::open(folder.path(), more);
  const auto before = read_bytes(folder.path() / "journal");
  RunInfo other = more;
  other.bindings["zoo-small/1/base"] = "cc";
  other.bindings["zoo-small/1/expert/mnist"] = "dd";
  EXPECT_THAT(
      error_of<ConfigError>([&] { ResultStore::open(folder.path(), other); }),
      AllOf(HasSubstr("zoo-small/1/base is cc now, but launch 0 of 2026-01-31T12:00:00Z recorded aa"),
            HasSubstr("zoo-small/1/expert/mnist is dd now, but launch 1"), HasSubstr("--results DIR")));
  EXPECT_EQ(read_bytes(folder.path() / "journal"), before);
  RunInfo fewer = grid_run();
  fewer.bindings = {{"precision", "fp32"}};
  const auto store = ResultStore::open(folder.path(), fewer);
  EXPECT_EQ(store->records().bindings.size(), 3U);
}

TEST(ResultStore, RecordsExamplesAndPlansOnce) {
  const TemporaryFolder folder;
  const auto size = [&] { return fs::file_size(folder.path() / "journal"); };
  auto store = ResultStore::open(folder.path(), grid_run());
  store->record_examples(some_examples());
  store->record_plan("grid", {cell_name(0), cell_name(1)});
  const auto before = size();
  store->record_examples(some_examples());
  store->record_plan("grid", {cell_name(0), cell_name(1)});
  EXPECT_EQ(size(), before);
  store->record_plan("more", {cell_name(2)});
  store->record_plan("grid", {cell_name(1)});
  store->record(make_result(1));
  store.reset();
  const auto records = ResultStore::read(folder.path())->records();
  EXPECT_EQ(records.planned(), (std::set<std::string>{cell_name(1), cell_name(2)}));
  EXPECT_EQ(records.missing(), std::vector{cell_name(2)});
  ASSERT_EQ(records.examples.size(), 1U);
  EXPECT_EQ(records.examples.at({"zoo-small", "mnist", "test"}).groups, some_examples().groups);
}

TEST(ResultStore, AForgottenResultCountsNoLonger) {
  const TemporaryFolder folder;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0, 1));
    store->record(make_result(1, 1));
    store->forget({cell_name(0), "no such cell"});
    EXPECT_EQ(store->results().size(), 1U);
    store->publish();
  }
  EXPECT_EQ(read_results_h5(folder.path() / "results.h5").results.size(), 1U);
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0, 2));
    store->publish();
  }
  EXPECT_EQ(ResultStore::read(folder.path())->results().at(cell_name(0)).worker, "host/rank2");
  EXPECT_EQ(verify_results(folder.path()).size(), 2U);
}

// A view that its journal did not publish: run, status and report all come here.
TEST(ResultStore, RefusesAJournalThatIsEmptyRolledBackOrForeign) {
  const TemporaryFolder folder;
  const TemporaryFolder elsewhere;
  const auto journal = folder.path() / "journal";
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->flush();
  }
  const auto early = read_bytes(journal);
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(1));
    store->publish();
  }
  const auto right = read_bytes(journal);
  {
    auto store = ResultStore::open(elsewhere.path(), grid_run());
    for (int i = 0; i < 9; ++i) {
      store->record(make_result(i, 5));
    }
  }
  for (const auto& wrong : {std::string(), early, read_bytes(elsewhere.path() / "journal")}) {
    write_bytes(journal, wrong);
    EXPECT_THAT(error_of<DataError>([&] { ResultStore::open(folder.path(), grid_run()); }),
                AllOf(HasSubstr("was not published from"), HasSubstr("remove results.h5")));
    EXPECT_THAT(error_of<DataError>([&] { ResultStore::read(folder.path()); }),
                HasSubstr("was not published"));
    EXPECT_EQ(read_bytes(journal), wrong);
  }
  write_bytes(journal, right);
  EXPECT_EQ(ResultStore::read(folder.path())->results().size(), 2U);
}

// An older view of the same journal is no fault: the next publication replaces it.
TEST(ResultStore, ReplacesAnOlderViewAndBringsBackADeletedOne) {
  const TemporaryFolder folder;
  const auto view = folder.path() / "results.h5";
  std::string old;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->publish();
    old = read_bytes(view);
    store->record(make_result(1));
    store->publish();
  }
  write_bytes(view, old);
  EXPECT_EQ(ResultStore::read(folder.path())->results().size(), 2U);
  ResultStore::open(folder.path(), grid_run())->publish();
  EXPECT_EQ(read_results_h5(view).results.size(), 2U);
  fs::remove(view);
  ResultStore::open(folder.path(), grid_run())->publish();
  EXPECT_EQ(read_results_h5(view).results.size(), 2U);
  EXPECT_EQ(verify_results(folder.path()).size(), 2U);
}

// Killed between renaming the view into place and noting that, then killed again before the next publication.
TEST(ResultStore, KnowsAViewThatWasNotNoted) {
  const TemporaryFolder folder;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->publish();
  }
  std::string journal = read_bytes(folder.path() / "journal");
  const std::string magic = journal.substr(0, 4);
  journal.resize(journal.rfind(magic));  // close
  journal.resize(journal.rfind(magic));  // publish
  write_bytes(folder.path() / "journal", journal);
  EXPECT_EQ(ResultStore::read(folder.path())->results().size(), 1U);
  ResultStore::open(folder.path(), grid_run())->record(make_result(1));
  EXPECT_EQ(ResultStore::read(folder.path())->results().size(), 2U);
  ResultStore::open(folder.path(), grid_run())->publish();
  EXPECT_EQ(verify_results(folder.path()).size(), 2U);
}

TEST(ResultStore, RefusesContradictingResults) {
  const TemporaryFolder folder;
  auto store = ResultStore::open(folder.path(), grid_run());
  Result twice = make_result(0);
  twice.metrics.push_back(twice.metrics[0]);
  EXPECT_THAT(error_of<DataError>([&] { store->record(twice); }), HasSubstr("two of 'loss'"));
  Result uneven = make_result(0);
  uneven.outcomes[0].rows.pop_back();
  EXPECT_THAT(error_of<DataError>([&] { store->record(uneven); }), HasSubstr("4 and 5"));
  Result ragged = make_result(0);
  ragged.outcomes[1].rows.pop_back();
  EXPECT_THAT(error_of<DataError>([&] { store->record(ragged); }), HasSubstr("9 numbers and the width 2"));
  Result double_outcomes = make_result(0);
  double_outcomes.outcomes.push_back(double_outcomes.outcomes[0]);
  EXPECT_THAT(error_of<DataError>([&] { store->record(double_outcomes); }),
              HasSubstr("two of 'accuracy' on 'test'"));
  Result double_predictions = make_result(0);
  double_predictions.predictions.push_back(double_predictions.predictions[0]);
  EXPECT_THAT(error_of<DataError>([&] { store->record(double_predictions); }), HasSubstr("predictions"));
  Result control = make_result(0);
  control.name = "a\tb";
  EXPECT_THAT(error_of<DataError>([&] { store->record(control); }), HasSubstr("control characters"));
  EXPECT_TRUE(store->results().empty());
}

TEST(ResultStore, LetsOneOpenerInAndNamesIt) {
  const TemporaryFolder folder;
  const auto store = ResultStore::open(folder.path(), grid_run());
  const auto message = error_of<IoError>([&] { ResultStore::open(folder.path(), grid_run()); });
  EXPECT_THAT(message, HasSubstr("process " + std::to_string(::getpid()) + " on host"));
  EXPECT_NO_THROW(ResultStore::read(folder.path()));
}

TEST(ResultStore, LockOfADeadProcessIsFree) {
  const TemporaryFolder folder;
  const int status = in_child([&] {
    const auto store = ResultStore::open(folder.path(), grid_run());
    ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_NO_THROW(ResultStore::open(folder.path(), grid_run()));
}

// In a child: files of this process may not grow beyond `bytes`, as on a full disk.
void limit_file_size(rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

TEST(ResultStore, RemovesTheTemporaryFilesOfTheDead) {
  const TemporaryFolder folder;
  const pid_t dead = ::fork();
  if (dead == 0) {
    ::_exit(0);
  }
  ::waitpid(dead, nullptr, 0);
  for (const std::string file : {"leaderboard.md", "results.h5"}) {
    write_bytes(folder.path() / (file + ".tmp." + std::to_string(dead)), "half");
    write_bytes(folder.path() / (file + ".tmp." + std::to_string(::getppid())), "half");
  }
  write_bytes(folder.path() / "mine.tmp.txt", "whole");
  ResultStore::open(folder.path(), grid_run());
  EXPECT_TRUE(fs::exists(folder.path() / ("leaderboard.md.tmp." + std::to_string(::getppid()))));
  EXPECT_TRUE(fs::exists(folder.path() / "mine.tmp.txt"));
  const auto files = std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator());
  EXPECT_EQ(files, 4);  // with the journal and the lock
}

TEST(ResultStore, FullDiskWhileRecordingLosesNothing) {
  const TemporaryFolder folder;
  const int status = in_child([&] {
    auto store = ResultStore::open(folder.path(), grid_run());
    limit_file_size(5000);
    int recorded = 0;
    try {
      for (;; ++recorded) {
        store->record(make_result(recorded));
      }
    } catch (const IoError&) {
    }
    store->flush();
    ::_exit(store->results().size() == static_cast<size_t>(recorded) ? recorded : 255);
  });
  ASSERT_TRUE(WIFEXITED(status));
  const int recorded = WEXITSTATUS(status);
  ASSERT_GT(recorded, 3);
  ASSERT_LT(recorded, 255);
  auto store = ResultStore::open(folder.path(), grid_run());
  ASSERT_EQ(store->results().size(), static_cast<size_t>(recorded));
  for (int i = 0; i < recorded; ++i) {
    EXPECT_TRUE(same(store->results().at(cell_name(i)), make_result(i)));
  }
  store->record(make_result(recorded));
  store->publish();
  EXPECT_NO_THROW(verify_results(folder.path()));
}

TEST(ResultStore, FullDiskWhilePublishingKeepsTheOldView) {
  const TemporaryFolder folder;
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->publish();
    store->record(make_result(1));
    store->flush();
  }
  const auto before = read_bytes(folder.path() / "results.h5");
  const auto journal_size = fs::file_size(folder.path() / "journal");
  const int status = in_child([&] {
    auto store = ResultStore::open(folder.path(), grid_run());
    limit_file_size(journal_size + 1000);
    try {
      store->publish();
    } catch (const IoError&) {
      ::_exit(fs::exists(folder.path() / ("results.h5.tmp." + std::to_string(::getpid()))) ? 2 : 42);
    }
    ::_exit(1);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(read_bytes(folder.path() / "results.h5"), before);
  EXPECT_EQ(verify_results(folder.path()).size(), 3U);  // the third line: newer results are not published
  ResultStore::open(folder.path(), grid_run())->publish();
  EXPECT_EQ(verify_results(folder.path()).size(), 2U);
  EXPECT_EQ(read_results_h5(folder.path() / "results.h5").results.size(), 2U);
}

TEST(ResultStore, AFailedFlushIsNeverTakenBack) {
  const TemporaryFolder folder;
  auto store = ResultStore::open(folder.path(), grid_run());
  store->record(make_result(0));
  Fault fault;
  fault.action = Fault::Action::kFail;
  fault.operation = 0;
  fault.error = EIO;
  set_fault(fault);
  EXPECT_THROW(store->flush(), IoError);
  set_fault({});
  EXPECT_THROW(store->flush(), IoError);
  EXPECT_THROW(store->record(make_result(1)), IoError);
}

TEST(ResultStore, ShortWritesAreCompleted) {
  const TemporaryFolder folder;
  Fault fault;
  fault.max_write = 7;
  set_fault(fault);
  {
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->publish();
  }
  set_fault({});
  EXPECT_EQ(verify_results(folder.path()).size(), 2U);
  EXPECT_TRUE(same(ResultStore::read(folder.path())->results().at(cell_name(0)), make_result(0)));
}

TEST(ResultStore, EveryFailingOperationLeavesAFolderThatContinues) {
  const int operations = [] {
    const TemporaryFolder folder;
    set_fault({});
    auto store = ResultStore::open(folder.path(), grid_run());
    store->record(make_result(0));
    store->flush();
    store->record(make_result(1));
    store->publish();
    store.reset();
    return static_cast<int>(num_file_operations());
  }();
  ASSERT_GT(operations, 10);
  for (int k = 0; k < operations; ++k) {
    const TemporaryFolder folder;
    bool flushed = false;
    Fault fault;
    fault.action = Fault::Action::kFail;
    fault.operation = k;
    fault.error = ENOSPC;
    set_fault(fault);
    try {
      auto store = ResultStore::open(folder.path(), grid_run());
      store->record(make_result(0));
      store->flush();
      flushed = true;
      store->record(make_result(1));
      store->publish();
    } catch (const IoError&) {
    }
    set_fault({});
    auto store = ResultStore::open(folder.path(), grid_run());
    EXPECT_GE(store->results().size(), flushed ? 1U : 0U) << "operation " << k;
    store->record(make_result(0));
    store->record(make_result(1));
    store->publish();
    EXPECT_EQ(verify_results(folder.path()).size(), 2U) << "operation " << k;
  }
}

}  // namespace
}  // namespace fusegrid::test
