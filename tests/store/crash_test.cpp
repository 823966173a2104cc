// The store is killed at every one of its file operations: before it, half-way through it, after it.
#include <csignal>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "store/results_file.h"
#include "store/verify.h"
#include "support.h"

namespace fusegrid::test {
namespace {

constexpr int kResults = 40;
constexpr int kFlushEvery = 4;
constexpr int kPublishEvery = 16;

// Counter of acknowledged results, shared with the child that is killed.
class SharedCount {
 public:
  SharedCount()
      : value_(static_cast<int*>(
            ::mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedCount() { ::munmap(value_, sizeof(int)); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;
  int& operator*() { return *value_; }

 private:
  int* value_;
};

// Records what is missing, acknowledging after each flush, and publishes on the way and at the end.
void campaign(const fs::path& folder, int run, int& acknowledged) {
  auto store = ResultStore::open(folder, grid_run());
  std::vector<std::string> names;
  for (int i = 0; i < kResults; ++i) {
    names.push_back(cell_name(i));
  }
  store->record_plan("grid", names);
  store->record_examples(some_examples());
  for (int i = 0; i < kResults; ++i) {
    if (store->results().contains(cell_name(i))) {
      continue;
    }
    store->record(i % 10 == 7 && run == 0 ? make_failed(i) : make_result(i, run));
    if ((i + 1) % kFlushEvery == 0) {
      store->flush();
      acknowledged = i + 1;
    }
    if ((i + 1) % kPublishEvery == 0) {
      store->publish();
    }
  }
  for (int i = 7; i < kResults; i += 10) {
    store->record(make_result(i, run));
  }
  store->publish();
}

struct Undisturbed {
  int64_t operations = 0;
  std::string digest;
};

Undisturbed undisturbed() {
  const TemporaryFolder folder;
  int acknowledged = 0;
  set_fault({});
  campaign(folder.path(), 0, acknowledged);
  return {num_file_operations(), metrics_sha256(folder.path() / "results.h5")};
}

// What must hold on a folder whose run was killed, and after the run that continues it.
void check_recovery(const fs::path& folder, int acknowledged, const Undisturbed& expected) {
  {
    const auto store = ResultStore::open(folder, grid_run());
    ASSERT_LE(static_cast<size_t>(acknowledged), store->results().size() + kResults / 10);
    for (int i = 0; i < acknowledged; ++i) {
      if (i % 10 != 7) {  // the failed ones are forgotten at the end of the run
        const auto found = store->results().find(cell_name(i));
        ASSERT_TRUE(found != store->results().end()) << i;
        ASSERT_TRUE(same(found->second, make_result(i))) << i;
      }
    }
  }
  if (fs::exists(folder / "results.h5")) {
    ASSERT_NO_THROW(verify_in_process(folder));
  }
  campaign(folder, 1, acknowledged);
  ASSERT_EQ(ResultStore::read(folder)->results().size(), static_cast<size_t>(kResults));
  for (const auto& entry : fs::directory_iterator(folder)) {
    ASSERT_EQ(entry.path().filename().string().find(".tmp"), std::string::npos);
  }
  const auto lines = verify_in_process(folder);
  ASSERT_EQ(lines.size(), 2U);
  ASSERT_TRUE(lines[1].ends_with(expected.digest)) << lines[1];
}

void sweep(Fault::Action action) {
  const Undisturbed expected = undisturbed();
  ASSERT_GT(expected.operations, 60);
  testing::internal::CaptureStderr();  // a line for every torn tail
  for (int64_t k = 0; k < expected.operations; ++k) {
    const TemporaryFolder folder;
    SharedCount acknowledged;
    const int status = in_child([&] {
      Fault fault;
      fault.action = action;
      fault.operation = k;
      set_fault(fault);
      campaign(folder.path(), 0, *acknowledged);
    });
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << k;
    check_recovery(folder.path(), *acknowledged, expected);
    if (testing::Test::HasFatalFailure()) {
      break;
    }
  }
  testing::internal::GetCapturedStderr();
  testing::Test::RecordProperty("kill_points", static_cast<int>(expected.operations));
}

// Nothing is left to run and the view is deleted or old: the launch that publishes it is killed at every operation, and
// the same launch again brings it back.
void sweep_publication(Fault::Action action, bool deleted) {
  const Undisturbed expected = undisturbed();
  const TemporaryFolder whole;
  int acknowledged = 0;
  std::string old;
  {
    auto store = ResultStore::open(whole.path(), grid_run());
    store->record(make_result(0));
    store->publish();
    old = read_bytes(whole.path() / "results.h5");
  }
  campaign(whole.path(), 1, acknowledged);
  const auto publish = [](const fs::path& folder) { ResultStore::open(folder, grid_run())->publish(); };
  testing::internal::CaptureStderr();
  for (int64_t k = 0;; ++k) {
    const TemporaryFolder folder;
    fs::copy(whole.path() / "journal", folder.path() / "journal");
    if (!deleted) {
      write_bytes(folder.path() / "results.h5", old);
    }
    const int status = in_child([&] {
      Fault fault;
      fault.action = action;
      fault.operation = k;
      set_fault(fault);
      publish(folder.path());
    });
    publish(folder.path());
    const auto lines = verify_in_process(folder.path());
    ASSERT_EQ(lines.size(), 2U) << k;
    ASSERT_TRUE(lines[1].ends_with(expected.digest)) << k << lines[1];
    if (WIFEXITED(status)) {
      ASSERT_GT(k, 5);  // this launch had no operation k
      break;
    }
  }
  testing::internal::GetCapturedStderr();
}

TEST(Crash, BeforeEveryOperation) {
  sweep(Fault::Action::kKillBefore);
}
TEST(Crash, HalfwayThroughEveryOperation) {
  sweep(Fault::Action::kKillHalfway);
}
TEST(Crash, AfterEveryOperation) {
  sweep(Fault::Action::kKillAfter);
}

TEST(Crash, AtEveryOperationOfAPublicationWithNothingLeft) {
  for (const auto action :
       {Fault::Action::kKillBefore, Fault::Action::kKillHalfway, Fault::Action::kKillAfter}) {
    sweep_publication(action, true);
    sweep_publication(action, false);
  }
}

// Flips bits of every `stride`-th byte of `file` and verifies, in children that check many flips each until
// one crashes the reader. Returns how many flips were detected.
struct FlipCounts {
  int detected = 0;
  int harmless = 0;
  int crashed = 0;
};
FlipCounts flip_sweep(const fs::path& folder, const std::string& file, size_t stride) {
  const fs::path path = folder / file;
  const std::string whole = read_bytes(path);
  SharedCount next;
  SharedCount detected;
  SharedCount harmless;
  SharedCount silent;
  const auto expected = ResultStore::read(folder)->results();
  const std::string digest = metrics_sha256(folder / "results.h5");
  FlipCounts counts;
  while (static_cast<size_t>(*next) < whole.size()) {
    const int status = in_child([&] {
      ::alarm(60);
      while (static_cast<size_t>(*next) < whole.size()) {
        const auto at = static_cast<size_t>(*next);
        *next += static_cast<int>(stride);
        std::string flipped = whole;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
        write_bytes(path, flipped);
        try {
          const auto lines = verify_in_process(folder);
          const bool torn = lines[1].find("no whole frame") != std::string::npos;
          const auto now = ResultStore::read(folder)->results();
          const bool equal = now.size() == expected.size() &&
                             std::equal(now.begin(), now.end(), expected.begin(),
                                        [](auto& a, auto& b) { return same(a.second, b.second); });
          ++*(torn ? detected : equal && lines[1].ends_with(digest) ? harmless : silent);
        } catch (const Error&) {
          ++*detected;
        }
      }
    });
    counts.crashed += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
  }
  write_bytes(path, whole);
  counts.detected = *detected;
  counts.harmless = *harmless;
  EXPECT_EQ(*silent, 0) << file;
  return counts;
}

void make_folder(const fs::path& folder) {
  auto store = ResultStore::open(folder, grid_run());
  for (int i = 0; i < 6; ++i) {
    store->record(i == 3 ? make_failed(i) : make_result(i));
  }
  store->publish();
}

TEST(Damage, EveryByteOfTheJournalIsCovered) {
  const TemporaryFolder folder;
  make_folder(folder.path());
  const auto counts = flip_sweep(folder.path(), "journal", 1);
  EXPECT_EQ(counts.crashed, 0);
  EXPECT_EQ(counts.harmless, 0);
  EXPECT_EQ(counts.detected, static_cast<int>(fs::file_size(folder.path() / "journal")));
}

TEST(Damage, NoFlipInTheViewPasses) {
  const TemporaryFolder folder;
  make_folder(folder.path());
  constexpr size_t kStride = 7;
  const auto counts = flip_sweep(folder.path(), "results.h5", kStride);
  const auto flips = (fs::file_size(folder.path() / "results.h5") + kStride - 1) / kStride;
  EXPECT_EQ(counts.harmless, 0);  // the journal knows the digest of the file
  EXPECT_EQ(counts.detected + counts.crashed, static_cast<int>(flips));
}

TEST(Damage, NoFlipPassesWhereTheJournalMissedThePublication) {
  const TemporaryFolder folder;
  make_folder(folder.path());
  // Killed between the rename and its frame: the journal ends with the last result, so that only the content
  // of the view can tell.
  std::string journal = read_bytes(folder.path() / "journal");
  const std::string magic = journal.substr(0, 4);
  journal.resize(journal.rfind(magic));  // close
  journal.resize(journal.rfind(magic));  // publish
  write_bytes(folder.path() / "journal", journal);
  ASSERT_EQ(verify_results(folder.path()).size(), 2U);
  const auto counts = flip_sweep(folder.path(), "results.h5", 11);
  EXPECT_EQ(counts.harmless, 0);  // equal records give equal bytes: padding and unused space are covered, too
}

bool throws_data_error(const std::function<void()>& work) {
  try {
    work();
    return false;
  } catch (const DataError&) {
    return true;
  }
}

TEST(Damage, TruncatedViewsAreRefused) {
  const TemporaryFolder folder;
  make_folder(folder.path());
  const auto whole = read_bytes(folder.path() / "results.h5");
  SharedCount refused;
  int sizes = 0;
  for (size_t size = 0; size < whole.size(); size += 997) {
    write_bytes(folder.path() / "results.h5", whole.substr(0, size));
    in_child([&] {
      *refused += throws_data_error([&] { verify_in_process(folder.path()); }) &&
                  throws_data_error([&] { decode_results_file(folder.path() / "results.h5"); });
    });
    ++sizes;
  }
  EXPECT_EQ(*refused, sizes);
  EXPECT_THROW(verify_results(folder.path()), DataError);
  EXPECT_THROW(read_results_h5(folder.path() / "results.h5"), DataError);
}

TEST(Damage, AMissingViewAndALostJournalAreNamed) {
  const TemporaryFolder folder;
  make_folder(folder.path());
  const auto journal = read_bytes(folder.path() / "journal");
  write_bytes(folder.path() / "journal", journal.substr(0, journal.size() / 2));
  EXPECT_NE(error_of<DataError>([&] { verify_results(folder.path()); }).find("recorded results are lost"),
            std::string::npos);
  write_bytes(folder.path() / "journal", journal);
  fs::remove(folder.path() / "results.h5");
  EXPECT_NE(error_of<DataError>([&] { verify_results(folder.path()); }).find("is missing"),
            std::string::npos);
}

}  // namespace
}  // namespace fusegrid::test
