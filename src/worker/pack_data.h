#pragma once

#include <map>
#include <string>

#include "core/least_recently_used.h"
#include "fusion/data_source.h"
#include "store/task_pack.h"

namespace fusegrid {

// The examples of one task pack, on the executor's device. A split is read once; a shifted one is made when it is first
// asked for and serves all methods, as long as it is among the latest.
class PackData final : public DataSource {
 public:
  // shifted_bytes: of the shifted splits that are kept beyond their use.
  PackData(const std::filesystem::path& pack, at::Device device, int64_t shifted_bytes)
      : pack_(pack), device_(device), shifted_(shifted_bytes) {}

  // As they are in the pack.
  Examples examples(const std::string& task, const std::string& split, int64_t count) const override;
  // All of them, under a shift ("clean": as they are).
  Examples shifted(const std::string& task, const std::string& split, const std::string& shift) const;
  std::string key() const override;  // the pack's SHA-256, computed once

 private:
  const Examples& whole(const std::string& task, const std::string& split) const;

  TaskPack pack_;
  at::Device device_;
  mutable std::map<std::string, Examples> loaded_;
  mutable LeastRecentlyUsed<Examples> shifted_;
  mutable std::string key_;
};

// A pack as a cell sees it. A shift is one of test images: what is trained or chosen on is clean.
class CellData final : public DataSource {
 public:
  CellData(const PackData& pack, std::string shift) : pack_(pack), shift_(std::move(shift)) {}
  Examples examples(const std::string& task, const std::string& split, int64_t count) const override;
  std::string key() const override { return pack_.key(); }

 private:
  const PackData& pack_;
  std::string shift_;
};

}  // namespace fusegrid
