// What cells that commands of the user's take part in share: where these write, and how they run.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include <c10/core/Device.h>

#include "core/user_command.h"

namespace fusegrid {

// A new folder in `parent`, which is made where it is missing; it goes with what is in it. IoError where it cannot be
// made.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::filesystem::path& parent);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Runs a command to its end, with `request` in place of kRequestWord; what it prints goes to the executor's log.
//   section  of the job, for messages: "external:mine"
//   device   the executor's, whose GPU it sees
//   tick     called all the while that it runs
// Throws DataError where it ends otherwise than with exit code 0 or does not end in time, with its last words; then
// nothing of it is left.
void run_command(const UserCommand& command, const std::string& section, const std::filesystem::path& request,
                 at::Device device, const std::function<void()>& tick);

}  // namespace fusegrid
