#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/result.h"
#include "store/journal.h"
#include "store/records.h"

namespace fusegrid {

// A publication of results.h5, as the journal remembers it.
struct Publication {
  uint64_t sequence = 0;  // of the last frame that the file contains
  std::string sha256;     // of the file
};

// What the frames of a journal add up to. The same rules serve recording, continuing and verifying.
struct Ledger {
  Records records;
  std::vector<Publication> publications;
  uint64_t changed = 0;  // the newest frame that a publication would hold; a close changes nothing

  void apply(FrameType type, uint64_t sequence, const nlohmann::json& payload);
  // Whether this result would be ignored: its item has a valid one, and this one is none that was evaluated on more
  // splits, as those of settings are that validation has chosen.
  bool is_settled(const Result& result) const;
};

nlohmann::json open_payload(const RunInfo& run);
nlohmann::json publish_payload(const Publication& publication);
nlohmann::json examples_payload(const ExamplesRecord& examples);
nlohmann::json plan_payload(const std::string& job, const std::vector<std::string>& items);
nlohmann::json forget_payload(const std::vector<std::string>& names);

// Frames that add up to `records`: how they travel from a process to another.
using Frames = std::vector<std::pair<FrameType, nlohmann::json>>;
Frames frames_of(const Records& records);

// Throws DataError where a result cannot be stored without loss: an empty name or one with control
// characters, two values of one metric, outcomes that are no rows of their width, two lists for one key.
void check_result(const Result& result);

}  // namespace fusegrid
