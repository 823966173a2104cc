#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace fusegrid {

// What an executor process prints: read from a pipe, so that an executor that prints without end fills
// neither a disk nor a memory. Goes to the worker's log file up to `cap_bytes`; the last lines of the current
// item are kept for its failure report.
class LogCapture {
 public:
  // `file` may be empty (no file). A file that cannot be written costs the log only, and is said once.
  LogCapture(std::filesystem::path file, int64_t cap_bytes);
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // A fresh pipe for a new process: returns its write end, which the caller closes after the fork.
  int open_pipe();
  int fd() const { return read_end_; }  // -1: none
  // Reads what is there; never waits.
  void pump();
  void start_item(const std::string& item);
  const std::string& tail() const { return tail_; }

 private:
  void take(const char* data, size_t size);
  void write_file(const char* data, size_t size);
  void close_pipe();

  std::filesystem::path file_;
  int64_t cap_bytes_, written_ = 0;
  std::ofstream out_;
  int read_end_ = -1;
  std::string item_;  // not yet named in the file
  std::string tail_;
};

}  // namespace fusegrid
