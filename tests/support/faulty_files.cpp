// A library for LD_PRELOAD: files that are slow, full or the last thing a process touches, and a clock that is wrong.
//
//   FUSEGRID_TEST_FAULT="ACTION CALL NUMBER PATTERNS [ARGUMENT]"
//     CALL      write (also positioned and gathered), truncate, sync, rename (of its target), open, or any of them
//     NUMBER    which one, counted from 0 in each process, of the calls on files that one of PATTERNS matches
//     PATTERNS  fnmatch(3) with FNM_PATHNAME, separated by ':'
//     ACTION    kill-before, kill-halfway (half the bytes of a write), kill-after: SIGKILL to the process itself
//               full: from there on writes fail with ENOSPC (the first after half its bytes), and so do new files
//               delay: every call from there on takes ARGUMENT ms longer
//               hold: creates the file ARGUMENT and waits until ARGUMENT.go is there
//   FUSEGRID_TEST_CLOCK=SECONDS   the time of day is wrong by so much
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

struct Fault {
  std::string action, call, argument;
  int64_t number = 0;
  std::vector<std::string> patterns;
};

std::optional<Fault> read_fault() {
  const char* text = std::getenv("FUSEGRID_TEST_FAULT");
  if (text == nullptr) {
    return std::nullopt;
  }
  Fault fault;
  std::string patterns;
  std::istringstream words(text);
  if (!(words >> fault.action >> fault.call >> fault.number >> patterns)) {
    std::fprintf(stderr, "FUSEGRID_TEST_FAULT cannot be read: %s\n", text);
    std::abort();
  }
  words >> fault.argument;
  std::istringstream parts(patterns);
  for (std::string pattern; std::getline(parts, pattern, ':');) {
    fault.patterns.push_back(pattern);
  }
  return fault;
}

const std::optional<Fault>& fault() {
  static const std::optional<Fault> read = read_fault();
  return read;
}

std::atomic<int64_t> calls{0};

bool matches(const std::string& call, const std::string& path) {
  if (!fault() || (fault()->call != "any" && fault()->call != call)) {
    return false;
  }
  for (const std::string& pattern : fault()->patterns) {
    if (::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0) {
      return true;
    }
  }
  return false;
}

std::string path_of(int descriptor) {
  char path[4096];
  const ssize_t length =
      ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return {path, length > 0 ? static_cast<size_t>(length) : 0};
}

void sleep_ms(long ms) {
  const timespec time{ms / 1000, ms % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
}

void hold(const std::string& mark) {
  ::close(::creat(mark.c_str(), 0666));
  while (::access((mark + ".go").c_str(), F_OK) != 0) {
    sleep_ms(5);
  }
}

// One call: `all` makes it, `half` what an interrupted one has done. `grows`: it needs space.
template <typename Call, typename Half>
ssize_t operate(const char* call, const std::string& path, bool grows, const Call& all, const Half& half) {
  if (!matches(call, path)) {
    return all();
  }
  const int64_t number = calls++;
  const std::string& action = fault()->action;
  if (number >= fault()->number && action == "full" && grows) {
    if (number == fault()->number) {
      half();
    }
    errno = ENOSPC;
    return -1;
  }
  if (number >= fault()->number && action == "delay") {
    sleep_ms(std::atol(fault()->argument.c_str()));
  }
  if (number != fault()->number) {
    return all();
  }
  if (action == "hold") {
    hold(fault()->argument);
  }
  if (action == "kill-halfway") {
    half();
  }
  if (action == "kill-before" || action == "kill-halfway") {
    ::kill(::getpid(), SIGKILL);
  }
  const ssize_t result = all();
  if (action == "kill-after") {
    ::kill(::getpid(), SIGKILL);
  }
  return result;
}

constexpr auto kNothing = [] {};

ssize_t write_at(int descriptor, const void* bytes, size_t count, off_t offset) {
  static auto* const write = real<decltype(::pwrite)>("pwrite");
  return operate(
      "write", fault() ? path_of(descriptor) : "", true,
      [&] { return write(descriptor, bytes, count, offset); },
      [&] { (void)!write(descriptor, bytes, count / 2, offset); });
}

template <typename Call>
int open_with(const char* path, int flags, const Call& call) {
  const bool grows = (flags & O_CREAT) != 0 && ::access(path, F_OK) != 0;
  return static_cast<int>(operate("open", path, grows, call, kNothing));
}

mode_t mode_in(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

time_t error_of_clock() {
  static const char* const text = std::getenv("FUSEGRID_TEST_CLOCK");
  static const time_t seconds = text == nullptr ? 0 : std::atol(text);
  return seconds;
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t count) {
  static auto* const write = real<decltype(::write)>("write");
  return operate(
      "write", fault() ? path_of(descriptor) : "", true, [&] { return write(descriptor, bytes, count); },
      [&] { (void)!write(descriptor, bytes, count / 2); });
}

ssize_t writev(int descriptor, const iovec* parts, int count) {
  static auto* const writev = real<decltype(::writev)>("writev");
  return operate(
      "write", fault() ? path_of(descriptor) : "", true, [&] { return writev(descriptor, parts, count); },
      [&] { (void)!writev(descriptor, parts, count / 2); });
}

ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t offset) {
  return write_at(descriptor, bytes, count, offset);
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off_t offset) {
  return write_at(descriptor, bytes, count, offset);
}

int ftruncate(int descriptor, off_t size) noexcept {
  static auto* const truncate = real<int(int, off_t)>("ftruncate");
  return static_cast<int>(operate(
      "truncate", fault() ? path_of(descriptor) : "", false, [&] { return truncate(descriptor, size); },
      kNothing));
}

int fsync(int descriptor) {
  static auto* const sync = real<decltype(::fsync)>("fsync");
  return static_cast<int>(operate(
      "sync", fault() ? path_of(descriptor) : "", false, [&] { return sync(descriptor); }, kNothing));
}

int fdatasync(int descriptor) {
  static auto* const sync = real<decltype(::fdatasync)>("fdatasync");
  return static_cast<int>(operate(
      "sync", fault() ? path_of(descriptor) : "", false, [&] { return sync(descriptor); }, kNothing));
}

int rename(const char* from, const char* to) noexcept {
  static auto* const rename = real<int(const char*, const char*)>("rename");
  return static_cast<int>(operate(
      "rename", to, true, [&] { return rename(from, to); }, kNothing));
}

int open(const char* path, int flags, ...) {
  static auto* const open = real<decltype(::open)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_with(path, flags, [&] { return open(path, flags, mode); });
}

int open64(const char* path, int flags, ...) {
  static auto* const open = real<decltype(::open)>("open64");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_in(flags, arguments);
  va_end(arguments);
  return open_with(path, flags, [&] { return open(path, flags, mode); });
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static auto* const get = real<int(clockid_t, timespec*)>("clock_gettime");
  const int status = get(clock, time);
  if (clock == CLOCK_REALTIME) {
    time->tv_sec += error_of_clock();
  }
  return status;
}

time_t time(time_t* result) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (result != nullptr) {
    *result = now.tv_sec;
  }
  return now.tv_sec;
}
}
