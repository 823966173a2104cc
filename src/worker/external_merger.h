#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "core/cell.h"
#include "fusion/external_row.h"
#include "fusion/fused_model.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

struct ExternalSettings {
  std::map<std::string, ExternalRow> rows;  // by method
  std::filesystem::path folder;             // where commands write; made when it is first needed
};

// Merges that are made elsewhere: by a command that reads the zoo's folders and writes one, or before the run began.
// docs/jobs.md says what a command is told, and what it must write.
class ExternalMerger {
 public:
  ExternalMerger(ExternalSettings settings, at::Device device)
      : settings_(std::move(settings)), device_(device) {}

  // The merge of a cell whose method is_external(). Throws InputError where what the run began with has changed since,
  // DataError where the command fails, takes too long, or writes no model of the zoo's architecture or one with NaN or
  // Inf. tick: called all the while that the command runs.
  FusedModel merge(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick);

 private:
  FusedModel load_folder(const Cell& cell, const ExternalRow& row, OpenZoo& zoo) const;
  FusedModel merge_by_command(const Cell& cell, const ExternalRow& row, OpenZoo& zoo,
                              const std::function<void()>& tick);
  std::map<std::string, std::string> read_models(const Cell& cell, OpenZoo& zoo,
                                                 const std::function<void()>& tick);

  ExternalSettings settings_;
  at::Device device_;
  std::set<std::string> checked_;  // models that commands read, by their folders
};

}  // namespace fusegrid
