#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include "core/errors.h"
#include "core/least_recently_used.h"
#include "core/weights.h"

namespace fusegrid {

// Things that belong to (models, recipe) and not to a method: task-vector sums, thresholds, Gram matrices,
// Fisher diagonals, decompositions. Each is computed once, kept in memory (least recently used first out)
// and, if a folder is given, on disk, where the other workers of the job find it: a file lock makes them wait
// for the one that computes. Keys say everything that a value depends on (digests of models, recipe, device
// kind).
//
// The disk only saves time: a full one, a folder that cannot be written or a damaged file costs what was saved, is told
// once on stderr, and fails no merge. Where the files outgrow their limit, those that were not used for longest go, but
// none that somebody computes or reads.
class StatisticsCache {
 public:
  // memory_limit_bytes: of what is kept beyond its use. folder: "" keeps nothing on disk. disk_limit_bytes: of the
  // folder, whoever wrote there; a value that is larger alone is not written.
  StatisticsCache(int64_t memory_limit_bytes, std::filesystem::path folder, at::Device device,
                  int64_t disk_limit_bytes = std::numeric_limits<int64_t>::max());

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
  Weights from_disk_or_compute(const std::string& key, const std::function<Weights()>& compute);
  Weights compute_and_count(const std::string& key, const std::function<Weights()>& compute);
  void write(const std::filesystem::path& path, const std::string& key, const Weights& value) const;
  void go_on_without(const std::string& what, const Error& error);

  LeastRecentlyUsed<Weights> memory_;
  std::filesystem::path folder_;  // "": nothing on disk
  at::Device device_;
  int64_t disk_limit_bytes_;
  bool warned_ = false;
  std::map<std::string, int64_t> computed_;
};

// Bytes of what caches have saved in a folder; 0 where there is none.
int64_t bytes_of_saved_statistics(const std::filesystem::path& folder);

}  // namespace fusegrid
