// Reads mutated files until one is not read as it should be, or the time is over.
//
//   fuzz TARGET [--seconds S] [--inputs N] [--seed K] [--out FOLDER]     mutates the target's good inputs
//   fuzz TARGET FILE...                                                  reads these, to repeat a fault
//
// The inputs are read in a child. Where it dies, its input is left in FOLDER as TARGET-SEED-NUMBER, and the exit status
// is 1.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/text.h"
#include "fuzz/mutations.h"
#include "fuzz/target.h"

namespace fusegrid::fuzz {
namespace {

constexpr unsigned kLongestRead_s = 20;
constexpr size_t kMostShared = size_t{1} << 20;

struct Options {
  std::string target;
  double seconds = 1e9;
  int64_t inputs = std::numeric_limits<int64_t>::max();
  int64_t seed = 1;
  std::string out = ".";
  std::vector<std::string> files;
};

// What the child is reading, shared with its parent.
struct Current {
  int64_t number = 0;
  size_t size = 0;
  char bytes[kMostShared];
};

Current& shared_current() {
  void* memory = ::mmap(nullptr, sizeof(Current), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  FUSEGRID_ASSERT(memory != MAP_FAILED, "mmap");
  return *new (memory) Current;
}

void read_one(const Target& target, std::string_view input, Current& current) {
  ++current.number;
  current.size = std::min(input.size(), kMostShared);
  std::memcpy(current.bytes, input.data(), current.size);
  ::alarm(kLongestRead_s);
  try {
    target.read(input);
  } catch (const ConfigError&) {
    // told as the user's mistake
  } catch (const DataError&) {
    // told as damage
  } catch (const std::exception& error) {
    std::cerr << "not an error for users: " << error.what() << "\n";
    std::abort();
  }
}

void mutate(const Target& target, const Options& options, Current& current) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.seconds);
  const std::vector<std::string> seeds = target.seeds();
  Mutator mutator(static_cast<uint64_t>(options.seed), target.words);
  for (const std::string& seed : seeds) {
    read_one(target, seed, current);
  }
  for (int64_t i = 0; i < options.inputs && std::chrono::steady_clock::now() < end; ++i) {
    read_one(target, mutator.next(seeds), current);
  }
}

void read_files(const Target& target, const Options& options, Current& current) {
  for (const std::string& file : options.files) {
    read_one(target, read_file(file), current);
  }
}

Options parse(const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 1; i < words.size(); ++i) {
    const bool named = words[i].starts_with("--");
    if (named && i + 1 == words.size()) {
      throw UsageError(words[i] + " needs a value");
    }
    if (words[i] == "--seconds") {
      options.seconds = std::stod(words[++i]);
    } else if (words[i] == "--inputs") {
      options.inputs = parse_int(words[++i], "--inputs");
    } else if (words[i] == "--seed") {
      options.seed = parse_int(words[++i], "--seed");
    } else if (words[i] == "--out") {
      options.out = words[++i];
    } else if (named) {
      throw UsageError("there is no option " + words[i]);
    } else if (options.target.empty()) {
      options.target = words[i];
    } else {
      options.files.push_back(words[i]);
    }
  }
  return options;
}

int run(const Options& options) {
  const Target& target = targets().at(options.target);
  Current& current = shared_current();
  const pid_t child = ::fork();
  if (child == 0) {
    options.files.empty() ? mutate(target, options, current) : read_files(target, options, current);
    std::filesystem::remove_all(scratch_folder());
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::cout << options.target << ": " << current.number << " inputs read\n";
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return 0;
  }
  const std::string file = options.out + "/" + options.target + "-" + std::to_string(options.seed) + "-" +
                           std::to_string(current.number);
  write_file(file, {current.bytes, current.size});
  std::cout << (WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "exit") << " while it read " << file
            << "\n";
  return 1;
}

}  // namespace

std::string scratch_folder() {
  static const std::string folder = [] {
    const std::string name = "/dev/shm/fusegrid-fuzz-" + std::to_string(::getpid());
    std::filesystem::create_directories(name);
    return name;
  }();
  return folder;
}

void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace fusegrid::fuzz

int main(int argc, char** argv) {
  using namespace fusegrid;
  try {
    return fuzz::run(fuzz::parse({argv, argv + argc}));
  } catch (const Error& error) {
    std::cerr << "fuzz: error: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
