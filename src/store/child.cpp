#include "store/child.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <string_view>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

void write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      ::_exit(1);  // the parent has gone
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string read_all(int descriptor) {
  std::string bytes;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return bytes;
    }
    bytes.append(buffer.data(), static_cast<size_t>(count));
  }
}

// The answer's first byte is the exit code of its error (0: none), the last one its end mark: an answer that
// was cut off by a crash has none.
constexpr char kEnd = '\x17';

[[noreturn]] void answer(int descriptor, const std::function<std::string()>& work, unsigned limit_s) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM, SIGTERM, SIGINT}) {
    ::signal(signal, SIG_DFL);  // the parent's handlers are none of the child's business
  }
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::alarm(limit_s);
  auto code = ExitCode::kOk;
  std::string text;
  try {
    text = work();
  } catch (const Error& error) {
    code = error.code();
    text = error.what();
  } catch (const std::exception& error) {
    code = ExitCode::kDataCorrupt;
    text = error.what();
  }
  write_all(descriptor, std::string(1, static_cast<char>(code)) + text + kEnd);
  ::_exit(0);
}

std::string death_text(int status) {
  if (WIFSIGNALED(status)) {
    return std::string("crashed the reader (") + ::strsignal(WTERMSIG(status)) + ")";
  }
  return "ended the reader without an answer (exit status " + std::to_string(WEXITSTATUS(status)) + ")";
}

[[noreturn]] void rethrow(ExitCode code, const std::string& text) {
  switch (code) {
    case ExitCode::kIo:
      throw IoError(text);
    case ExitCode::kConfig:
      throw ConfigError(text);
    default:
      throw DataError(text);
  }
}

}  // namespace

std::string run_in_child(const std::string& what, const std::function<std::string()>& work,
                         unsigned limit_s) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    throw IoError(what + ": cannot create a pipe: " + std::strerror(errno));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    answer(ends[1], work, limit_s);
  }
  const int fork_error = errno;
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    throw IoError(what + ": cannot start a process: " + std::strerror(fork_error));
  }
  const std::string bytes = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (bytes.size() < 2 || bytes.back() != kEnd || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw DataError(what + " " + death_text(status) + ": the file is damaged or was made to do that");
  }
  std::string text = bytes.substr(1, bytes.size() - 2);
  if (bytes[0] != static_cast<char>(ExitCode::kOk)) {
    rethrow(static_cast<ExitCode>(static_cast<uint8_t>(bytes[0])), text);
  }
  return text;
}

}  // namespace fusegrid
