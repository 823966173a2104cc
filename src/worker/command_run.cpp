#include "worker/command_run.h"

#include <chrono>
#include <cstdlib>
#include <thread>

#include <ATen/Parallel.h>
#include <sys/wait.h>

#include "core/errors.h"
#include "core/posix_file.h"
#include "core/text.h"
#include "worker/child_process.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{20};  // at a command that runs
constexpr int64_t kMostLogged = int64_t{16} << 20;
constexpr size_t kLastWords = 600;  // bytes of a command's output in a message

// What the executor may see; without a supervisor nobody has told it, and its device has the number that the driver
// gives it.
std::string visible_gpus(at::Device device) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible != nullptr ? visible : device.is_cuda() ? std::to_string(device.index()) : "";
}

ChildOptions child_options(const UserCommand& command, const fs::path& request, at::Device device) {
  ChildOptions options;
  options.executable = program_of(command).string();
  options.arguments.assign(command.words.begin() + 1, command.words.end());
  for (std::string& argument : options.arguments) {
    if (const size_t at = argument.find(kRequestWord); at != std::string::npos) {
      argument.replace(at, std::string_view(kRequestWord).size(), request.string());
    }
  }
  options.threads = at::get_num_threads();
  options.visible_gpus = visible_gpus(device);
  options.leads_session = false;  // it belongs to that of the executor, and ends with it
  return options;
}

// The end of what it printed, on one line.
std::string last_words(const std::string& tail) {
  std::string text = trim(tail);
  if (text.empty()) {
    return "it printed nothing";
  }
  if (text.size() > kLastWords) {
    text = "... " + text.substr(text.size() - kLastWords);
  }
  return "it printed: " + join(split(text, '\n'), " | ");
}

std::string end_text(int status) {
  return WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                             : "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

ScratchFolder::ScratchFolder(const fs::path& parent) {
  fs::create_directories(parent);
  std::string name = (parent / "XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw IoError(system_message("make a folder in", parent));
  }
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;  // what is left goes when the run ends
  fs::remove_all(path_, ignored);
}

void run_command(const UserCommand& command, const std::string& section, const fs::path& request,
                 at::Device device, const std::function<void()>& tick) {
  const std::string who = "the command of [" + section + "] ";
  LogCapture log("/dev/stdout", kMostLogged);  // the executor's own log
  log.start_item("command of " + section);
  ChildProcess child(child_options(command, request, device), log);
  const auto deadline = steady_clock::now() + std::chrono::seconds(command.timeout_s);
  while (!child.has_ended()) {
    log.pump();
    if (steady_clock::now() > deadline) {
      child.reap(0);
      log.pump();
      throw DataError(who + "must end within timeout_s = " + number_text(command.timeout_s) +
                      " s, but did not and was killed; " + last_words(log.tail()));
    }
    tick();
    std::this_thread::sleep_for(kLook);
  }
  const int status = child.reap(0);
  log.pump();
  if (status != 0) {
    throw DataError(who + end_text(status) + "; " + last_words(log.tail()));
  }
}

}  // namespace fusegrid
