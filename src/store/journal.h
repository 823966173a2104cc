#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include <nlohmann/json.hpp>

#include "store/file.h"

namespace fusegrid {

// What a frame of the journal says. The payloads are listed in docs/results_format.md.
enum class FrameType : uint16_t {
  kOpen = 1,      // a launch of the program
  kResult = 2,    // one Result, whole: its metrics, outcomes and facts are recorded together or not at all
  kPublish = 3,   // results.h5 was renamed into place
  kClose = 4,     // the launch ended in order
  kExamples = 5,  // labels and groups of a split
  kPlan = 6,      // the items of a job
  kForget = 7,    // results that count no longer
};

// Receives the whole frames in their order.
using FrameVisitor = std::function<void(FrameType, uint64_t sequence, const nlohmann::json& payload)>;

// Where the whole frames of a journal end.
struct JournalEnd {
  uint64_t size = 0;      // bytes of whole frames
  uint64_t sequence = 0;  // of the last one; 0 where there is none
  uint64_t frames = 0;
  uint64_t torn_bytes = 0;  // behind them: a frame that a killed process did not finish
};

// Reads a journal without changing it. A bad frame at the end is torn: it is not visited. Throws DataError
// with the offset where a bad frame has good ones behind it, where the sequence has a hole, and where another
// version of the program wrote the journal.
JournalEnd replay_journal(const std::filesystem::path& path, const FrameVisitor& visit);

// Appends to a journal; one writer at a time (FolderLock).
class Journal {
 public:
  // Creates the journal, or replays it and cuts off a torn tail, with one line on stderr.
  Journal(const std::filesystem::path& path, const FrameVisitor& visit);

  // Returns the frame's sequence number. On an IoError (disk full, ...) the journal ends with its last whole
  // frame, as before the call, and can be used on.
  uint64_t append(FrameType type, const nlohmann::json& payload);
  // Everything appended is on disk when it returns. After a failure nothing is known about what is on disk:
  // every later call throws IoError, and the folder must be opened again.
  void flush();
  // Of the last frame.
  uint64_t sequence() const { return end_.sequence; }

 private:
  void check_usable() const;
  JournalEnd end_;
  std::unique_ptr<File> file_;
  bool unflushed_ = false;
  bool broken_ = false;
};

}  // namespace fusegrid
