#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "core/weights.h"

namespace fusegrid {

// Things that belong to (models, recipe) and not to a method: task-vector sums, thresholds, Gram matrices,
// Fisher diagonals, decompositions. Each is computed once, kept in memory (least recently used first out)
// and, if a folder is given, on disk, where the other workers of the job find it: a file lock makes them wait
// for the one that computes. Keys say everything that a value depends on (digests of models, recipe, device
// kind).
class StatisticsCache {
 public:
  // memory_limit_bytes: of what is kept beyond its use. folder: "" keeps nothing on disk.
  StatisticsCache(int64_t memory_limit_bytes, std::filesystem::path folder, at::Device device);

  enum class Keep {
    kMemory,         // cheap to make again: sums, directions
    kMemoryAndDisk,  // forward or backward passes, decompositions
  };
  // The value of `key`, from memory, disk or `compute` (in that order).
  std::shared_ptr<const Weights> get(const std::string& key, Keep keep,
                                     const std::function<Weights()>& compute);

  // How often `compute` ran in this process, per key: tests prove "once per zoo" with it.
  std::map<std::string, int64_t> computed() const;

 private:
  std::shared_ptr<const Weights> from_disk_or_compute(const std::string& key,
                                                      const std::function<Weights()>& compute);
  Weights compute_and_count(const std::string& key, const std::function<Weights()>& compute);
  void remember(const std::string& key, std::shared_ptr<const Weights> value);

  struct Entry {
    std::shared_ptr<const Weights> value;
    int64_t bytes = 0;
    std::list<std::string>::iterator age;
  };
  int64_t memory_limit_bytes_;
  std::filesystem::path folder_;
  at::Device device_;
  int64_t bytes_ = 0;
  std::map<std::string, Entry> entries_;
  std::list<std::string> newest_first_;
  std::map<std::string, int64_t> computed_;
};

}  // namespace fusegrid
