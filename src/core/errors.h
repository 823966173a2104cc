#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace fusegrid {

// Exit status of the program; documented in `fusegrid --help` and docs/hpc.md.
enum class ExitCode : int {
  kOk = 0,
  kUsage = 1,         // the command line cannot be read
  kConfig = 2,        // a job file, a zoo or a method's parameters are wrong; nothing was started
  kCellsFailed = 3,   // the run is complete, but some cells failed or are invalid
  kDiffers = 4,       // results differ from published ones, or from others, by more than they may
  kDataCorrupt = 65,  // a checkpoint, pack, journal or results file is damaged
  kNoDevice = 69,     // no usable GPU
  kIo = 74,           // reading or writing failed (disk full, permission, lock held)
  kStopped = 75,      // stopped early on request; the same command continues
};

// Base of every error that ends the program. Its message states the rule, the value seen and the remedy.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(ExitCode::kUsage, message) {}
};
// The user's mistake in what to run; thrown only before the first cell runs.
struct ConfigError : Error {
  explicit ConfigError(const std::string& message) : Error(ExitCode::kConfig, message) {}
};
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(ExitCode::kDataCorrupt, message) {}
};
struct DeviceError : Error {
  explicit DeviceError(const std::string& message) : Error(ExitCode::kNoDevice, message) {}
};
struct IoError : Error {
  explicit IoError(const std::string& message) : Error(ExitCode::kIo, message) {}
};

// Prints the broken invariant and aborts: our bug, never the user's. Active in release builds too.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line,
                                   const std::string& details);

}  // namespace fusegrid

// FUSEGRID_ASSERT(condition, "what was seen"): checks an invariant of our own code.
#define FUSEGRID_ASSERT(condition, details)                                    \
  do {                                                                         \
    if (!(condition)) {                                                        \
      ::fusegrid::assertion_failed(#condition, __FILE__, __LINE__, (details)); \
    }                                                                          \
  } while (false)
