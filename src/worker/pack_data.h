#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/least_recently_used.h"
#include "fusion/data_source.h"
#include "store/task_pack.h"
#include "worker/memory_shares.h"
#include "zoo/pack_digest.h"

namespace fusegrid {

// The examples of one task pack; none where a zoo has no pack, and then nothing may be asked for. A split is read once;
// a shifted one is made when it is first asked for and serves all methods, as long as it is among the latest. Splits
// are on the executor's device as long as they fit into its share, and else where they were read: in memory, or as
// pages of the pack's file.
class PackData final : public DataSource {
 public:
  // seen: the pack as whoever began the run hashed it.
  PackData(const std::filesystem::path& pack, at::Device device, const MemoryShares& shares,
           std::optional<SeenPack> seen = std::nullopt)
      : pack_(pack.empty() ? std::nullopt : std::optional<TaskPack>(pack)),
        device_(device),
        resident_left_(shares.resident),
        shifted_(shares.shifted),
        seen_(std::move(seen)) {}

  // As they are in the pack.
  Examples examples(const std::string& task, const std::string& split, int64_t count) const override;
  const TaskKind& kind(const std::string& task) const override;
  const TaskInfo& task(const std::string& name) const { return pack().task(name); }
  // All of them, under a shift ("clean": as they are).
  Examples shifted(const std::string& task, const std::string& split, const std::string& shift) const;
  // The pack's digest: the one seen, where the file still has that stamp, else computed once.
  std::string key() const override;

 private:
  const TaskPack& pack() const;
  const Examples& whole(const std::string& task, const std::string& split) const;
  Examples placed(const Examples& examples) const;

  std::optional<TaskPack> pack_;
  at::Device device_;
  mutable int64_t resident_left_;
  mutable std::map<std::string, Examples> loaded_;
  mutable std::map<std::string, std::shared_ptr<const TaskKind>> kinds_;  // by task
  mutable LeastRecentlyUsed<Examples> shifted_;
  std::optional<SeenPack> seen_;
  mutable std::string key_;
};

// A pack as a cell sees it. A shift is one of what is tested and adapted on: what is trained or chosen on is clean.
class CellData final : public DataSource {
 public:
  CellData(const PackData& pack, std::string shift) : pack_(pack), shift_(std::move(shift)) {}
  Examples examples(const std::string& task, const std::string& split, int64_t count) const override;
  Inputs inputs_to_adapt_on(const std::string& task, const std::string& split) const override {
    return pack_.shifted(task, split, shift_).inputs;
  }
  const TaskKind& kind(const std::string& task) const override { return pack_.kind(task); }
  std::string key() const override { return pack_.key(); }

 private:
  const PackData& pack_;
  std::string shift_;
};

}  // namespace fusegrid
