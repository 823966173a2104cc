#include "store/guarded_reader.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/registry.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr auto kSubcommand = "reader";  // fusegrid reader NAME LIMIT_S PARENT PATH
constexpr int kAnswer = 3;              // descriptor of the answer, opened by the parent
constexpr int kFirstFree = 10;          // descriptors of the parent's that cannot be kAnswer
// The answer's first byte is the exit code of its error (0: none), the last one its end mark: an answer that was cut
// off by a crash has none.
constexpr char kEnd = '\x17';

Registry<GuardedReader::Work>& works() {
  static Registry<GuardedReader::Work> registry("guarded reader");
  return registry;
}

bool main_serves = false;

// ---- the process that reads

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

std::string answer_of(const std::string& name, const std::filesystem::path& path) {
  auto code = ExitCode::kOk;
  std::string text;
  try {
    text = works().at(name)(path);
  } catch (const Error& error) {
    code = error.code();
    text = error.what();
  } catch (const std::exception& error) {
    code = ExitCode::kDataCorrupt;
    text = error.what();
  }
  return std::string(1, static_cast<char>(code)) + text + kEnd;
}

// ---- the process that asks

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  void close() {
    if (number_ >= 0) {
      ::close(number_);
    }
    number_ = -1;
  }

 private:
  int number_;
};

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

// Starts this program with `arguments`; `answer` becomes its descriptor kAnswer. A group of its own: Ctrl-C is the
// parent's to answer. Returns the error's number, 0 where there is none.
int spawn(std::vector<std::string> arguments, int answer, pid_t* child) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, answer, kAnswer);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  const int error = ::posix_spawn(child, "/proc/self/exe", &files, &attributes, pointers.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

[[noreturn]] void tell_death(const std::string& what, int status) {
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP) {
    throw IoError("the process that read " + what + " was ended from outside (" + ::strsignal(signal) +
                  "), by lack of memory or by hand: give the command again");
  }
  if (signal == 0 && WEXITSTATUS(status) == 127) {
    throw IoError("the process that reads " + what + " could not start: see above");
  }
  const std::string death = signal != 0 ? std::string("crashed the reader (") + ::strsignal(signal) + ")"
                                        : "ended the reader without an answer (exit status " +
                                              std::to_string(WEXITSTATUS(status)) + ")";
  throw DataError(what + " " + death + ": the file is damaged or was made to do that");
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

GuardedReader::GuardedReader(const std::string& name, Work work) : name_(name) {
  works().add(name, work);
}

std::string GuardedReader::operator()(const std::filesystem::path& path, unsigned limit_s) const {
  FUSEGRID_ASSERT(main_serves,
                  "main() must call serve_guarded_reader() first: else it would start itself for ever");
  const std::string what = "'" + path.string() + "'";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw IoError(what + ": cannot create a pipe: " + std::strerror(errno));
  }
  const Descriptor answer(ends[0]);
  Descriptor low(ends[1]);
  Descriptor theirs(::fcntl(low.number(), F_DUPFD_CLOEXEC, kFirstFree));
  low.close();
  pid_t child = -1;
  const int error = spawn(
      {"fusegrid", kSubcommand, name_, std::to_string(limit_s), std::to_string(::getpid()), path.string()},
      theirs.number(), &child);
  theirs.close();
  if (error != 0) {
    throw IoError(what + ": cannot start a process: " + std::strerror(error));
  }
  const std::string bytes = read_all(answer.number());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (bytes.size() < 2 || bytes.back() != kEnd || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    tell_death(what, status);
  }
  std::string text = bytes.substr(1, bytes.size() - 2);
  if (bytes[0] != static_cast<char>(ExitCode::kOk)) {
    rethrow(static_cast<ExitCode>(static_cast<uint8_t>(bytes[0])), text);
  }
  return text;
}

std::optional<int> serve_guarded_reader(int argc, char** argv) {
  main_serves = true;
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() != 6 || words[1] != kSubcommand || ::fcntl(kAnswer, F_GETFD) < 0) {
    return std::nullopt;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parse_int(words[4], "parent")) {
    return 1;  // it died before prctl() was in force
  }
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::alarm(static_cast<unsigned>(parse_int(words[3], "limit_s")));
  write_all(kAnswer, answer_of(words[2], words[5]));
  return 0;
}

}  // namespace fusegrid
