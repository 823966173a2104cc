// Runs command lines in the test's own process.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "cli/program.h"
#include "comm/transport.h"

namespace fusegrid {

struct Ran {
  ExitCode code;
  std::string out;
  std::string err;
};

inline Ran invoke(std::vector<std::string> words) {
  words.insert(words.begin(), "fusegrid");
  const auto transports = in_process_transports(1);
  std::ostringstream out;
  std::ostringstream err;
  const ExitCode code = run_command_line(words, out, err, transports.front().get());
  return {code, out.str(), err.str()};
}

}  // namespace fusegrid
