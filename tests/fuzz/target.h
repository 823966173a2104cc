#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/registry.h"

namespace fusegrid::fuzz {

// A reader of a file format, for inputs that anybody may have made. One .cpp each, which registers itself.
struct Target {
  // Reads the input. A ConfigError or DataError is the right end of a bad one; any other exception, a crash, and more
  // than a few seconds or GiB are faults.
  void (*read)(std::string_view input) = nullptr;
  // Good inputs to begin with, and the format's words, of which mutations make use.
  std::vector<std::string> (*seeds)() = nullptr;
  std::vector<std::string> words;
};

inline Registry<Target>& targets() {
  static Registry<Target> registry("target of fuzzing");
  return registry;
}

struct RegisterTarget {
  RegisterTarget(const std::string& name, Target target) { targets().add(name, std::move(target)); }
};

// A folder of this process in memory, for readers of files.
std::string scratch_folder();
void write_file(const std::string& path, std::string_view bytes);
std::string read_file(const std::string& path);

}  // namespace fusegrid::fuzz
