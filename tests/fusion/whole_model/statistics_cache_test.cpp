#include "fusion/whole_model/statistics_cache.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <sstream>
#include <thread>

#include <ATen/ops/full.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using Keep = StatisticsCache::Keep;

// 400 bytes
Weights value_of(float number) {
  return {{"w", at::full({100}, number)}};
}

float number_in(const std::shared_ptr<const Weights>& value) {
  return value->at("w")[0].item<float>();
}

TEST(StatisticsCache, computes_once_per_key) {
  StatisticsCache cache(1 << 20, "", at::kCPU);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(number_in(cache.get("a", Keep::kMemory, [] { return value_of(1); })), 1);
    EXPECT_EQ(number_in(cache.get("b", Keep::kMemoryAndDisk, [] { return value_of(2); })), 2);
  }
  EXPECT_EQ(cache.computed(), (std::map<std::string, int64_t>{{"a", 1}, {"b", 1}}));
}

TEST(StatisticsCache, drops_what_was_not_used_for_longest) {
  StatisticsCache cache(1000, "", at::kCPU);  // two values
  const auto get = [&](const std::string& key) { cache.get(key, Keep::kMemory, [] { return value_of(0); }); };
  get("a");
  get("b");
  get("a");
  get("c");  // drops b
  get("a");
  EXPECT_EQ(cache.computed().at("a"), 1);
  get("b");
  EXPECT_EQ(cache.computed(), (std::map<std::string, int64_t>{{"a", 1}, {"b", 2}, {"c", 1}}));
}

TEST(StatisticsCache, keeps_a_value_in_use_that_is_larger_than_its_memory) {
  StatisticsCache cache(1, "", at::kCPU);
  const auto value = cache.get("a", Keep::kMemory, [] { return value_of(7); });
  cache.get("b", Keep::kMemory, [] { return value_of(8); });
  EXPECT_EQ(number_in(value), 7);
}

// Of how many bytes each of the values is on disk.
int64_t saved_bytes() {
  const TemporaryFolder folder;
  StatisticsCache(1 << 20, folder.path(), at::kCPU).get("a", Keep::kMemoryAndDisk, [] {
    return value_of(1);
  });
  return bytes_of_saved_statistics(folder.path());
}

// The saved files, each a minute older than it was.
std::vector<std::filesystem::path> aged_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") {
      std::filesystem::last_write_time(entry, entry.last_write_time() - std::chrono::minutes(1));
      files.push_back(entry.path());
    }
  }
  return files;
}

TEST(StatisticsCache, keeps_its_folder_below_the_limit_by_what_was_not_used_for_longest) {
  const TemporaryFolder folder;
  const int64_t limit = 2 * saved_bytes() + saved_bytes() / 2;
  const auto computed = [&](const std::string& key) {
    StatisticsCache cache(1 << 20, folder.path(), at::kCPU, limit);
    cache.get(key, Keep::kMemoryAndDisk, [] { return value_of(0); });
    aged_files(folder.path());
    return cache.computed().contains(key);
  };
  EXPECT_TRUE(computed("a"));
  EXPECT_TRUE(computed("b"));
  EXPECT_FALSE(computed("a"));
  EXPECT_TRUE(computed("c"));  // b goes
  EXPECT_FALSE(computed("a"));
  EXPECT_TRUE(computed("b"));
  EXPECT_LE(bytes_of_saved_statistics(folder.path()), limit);
}

TEST(StatisticsCache, saves_nothing_that_is_larger_than_its_limit) {
  const TemporaryFolder folder;
  StatisticsCache cache(1 << 20, folder.path(), at::kCPU, 100);
  EXPECT_EQ(number_in(cache.get("a", Keep::kMemoryAndDisk, [] { return value_of(3); })), 3);
  EXPECT_EQ(bytes_of_saved_statistics(folder.path()), 0);
}

TEST(StatisticsCache, removes_nothing_that_somebody_reads) {
  const TemporaryFolder folder;
  const auto get = [&](const std::string& key, int64_t limit) {
    StatisticsCache(1 << 20, folder.path(), at::kCPU, limit).get(key, Keep::kMemoryAndDisk, [] {
      return value_of(1);
    });
  };
  get("a", 1 << 20);
  const std::filesystem::path file = aged_files(folder.path()).at(0);
  const int held = ::open((file.string() + ".lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  get("b", saved_bytes());
  EXPECT_TRUE(std::filesystem::exists(file));
  ::close(held);
  get("c", saved_bytes());
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(StatisticsCache, has_saved_nothing_where_there_is_no_folder) {
  EXPECT_EQ(bytes_of_saved_statistics("/nonexistent/folder"), 0);
}

TEST(StatisticsCache, finds_on_disk_what_another_process_left) {
  const TemporaryFolder folder;
  StatisticsCache first(1 << 20, folder.path(), at::kCPU);
  first.get("disk", Keep::kMemoryAndDisk, [] { return value_of(3); });
  first.get("memory", Keep::kMemory, [] { return value_of(4); });
  StatisticsCache second(1 << 20, folder.path(), at::kCPU);
  EXPECT_EQ(number_in(second.get("disk", Keep::kMemoryAndDisk, [] { return value_of(9); })), 3);
  EXPECT_EQ(number_in(second.get("memory", Keep::kMemory, [] { return value_of(9); })), 9);
  EXPECT_EQ(second.computed(), (std::map<std::string, int64_t>{{"memory", 1}}));
}

// Each object opens the lock file itself, so two objects exclude each other as two processes do.
TEST(StatisticsCache, of_two_that_want_a_value_one_computes_and_the_other_waits) {
  const TemporaryFolder folder;
  std::atomic<int> computing = 0;
  std::atomic<int> computed = 0;
  std::atomic<int> wanting = 0;
  const auto work = [&] {
    StatisticsCache cache(1 << 20, folder.path(), at::kCPU);
    ++wanting;
    const auto value = cache.get("slow", Keep::kMemoryAndDisk, [&] {
      EXPECT_EQ(++computing, 1);
      while (wanting < 2) {
        std::this_thread::yield();
      }
      --computing;
      ++computed;
      return value_of(5);
    });
    EXPECT_EQ(number_in(value), 5);
  };
  std::thread first(work);
  std::thread second(work);
  first.join();
  second.join();
  EXPECT_EQ(computed, 1);
}

TEST(StatisticsCache, leaves_nothing_behind_where_computing_fails) {
  const TemporaryFolder folder;
  StatisticsCache cache(1 << 20, folder.path(), at::kCPU);
  const auto fail = []() -> Weights { throw std::runtime_error("no"); };
  EXPECT_THROW(cache.get("a", Keep::kMemoryAndDisk, fail), std::runtime_error);
  EXPECT_EQ(number_in(cache.get("a", Keep::kMemoryAndDisk, [] { return value_of(6); })), 6);
}

// What `work` prints, without a file in between.
std::string printed_by(const std::function<void()>& work) {
  std::ostringstream text;
  std::streambuf* const before = std::cerr.rdbuf(text.rdbuf());
  work();
  std::cerr.rdbuf(before);
  return text.str();
}

// Makes and reads values as a run does; returns what it printed.
std::string warnings_of(StatisticsCache& cache) {
  return printed_by([&] {
    for (const std::string key : {"a", "b", "a", "b"}) {
      EXPECT_EQ(number_in(cache.get(key, Keep::kMemoryAndDisk, [] { return value_of(1); })), 1);
    }
  });
}

int64_t lines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

// No file may grow beyond a few bytes while it lives, as on a full disk.
class FullDisk {
 public:
  FullDisk() : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit full = before_;
    full.rlim_cur = 16;
    ::setrlimit(RLIMIT_FSIZE, &full);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST(StatisticsCache, goes_on_without_a_disk_that_is_full) {
  const TemporaryFolder folder;
  StatisticsCache cache(1 << 20, folder.path(), at::kCPU);
  std::string warnings;
  {
    const FullDisk full;
    warnings = warnings_of(cache);
  }
  EXPECT_EQ(lines(warnings), 1) << warnings;
  EXPECT_NE(warnings.find("File too large"), std::string::npos) << warnings;
  EXPECT_EQ(cache.computed(), (std::map<std::string, int64_t>{{"a", 1}, {"b", 1}}));
  for (const std::string& name : folder.names()) {
    EXPECT_TRUE(name.ends_with(".lock")) << name << " is left";
  }
  StatisticsCache later(1 << 20, folder.path(), at::kCPU);
  EXPECT_EQ(warnings_of(later), "") << "there is room again";
}

TEST(StatisticsCache, goes_on_without_a_folder_that_cannot_be_used) {
  const TemporaryFolder folder;
  write_text(folder / "a_file", "");
  for (const auto& path : {folder / "a_file", folder / "a_file" / "below"}) {
    const std::string printed = printed_by([&] {
      StatisticsCache cache(1 << 20, path, at::kCPU);
      for (const std::string key : {"a", "b", "a"}) {
        EXPECT_EQ(number_in(cache.get(key, Keep::kMemoryAndDisk, [] { return value_of(2); })), 2);
      }
      EXPECT_EQ(cache.computed(), (std::map<std::string, int64_t>{{"a", 1}, {"b", 1}}));
    });
    EXPECT_EQ(lines(printed), 1) << "told once: " << printed;
    EXPECT_NE(printed.find(path.string()), std::string::npos) << printed;
  }
}

TEST(StatisticsCache, makes_a_damaged_file_anew_and_names_it) {
  const TemporaryFolder folder;
  StatisticsCache(1 << 20, folder.path(), at::kCPU).get("a", Keep::kMemoryAndDisk, [] {
    return value_of(1);
  });
  std::string damaged;
  for (const std::string& name : folder.names()) {
    if (name.ends_with(".safetensors")) {
      damaged = name;
      std::filesystem::resize_file(folder / name, 40);
    }
  }
  ASSERT_FALSE(damaged.empty());
  StatisticsCache cache(1 << 20, folder.path(), at::kCPU);
  EXPECT_NE(warnings_of(cache).find(damaged), std::string::npos);
  StatisticsCache later(1 << 20, folder.path(), at::kCPU);
  EXPECT_EQ(warnings_of(later), "");
  EXPECT_TRUE(later.computed().empty());
}

}  // namespace
}  // namespace fusegrid
