#include "coordinator/rerun_hint.h"

namespace fusegrid {

std::string rerun_hint(const std::string& name) {
  std::string pattern;
  for (const char c : name) {
    if (std::string(R"(\^$.|?*+()[]{})").find(c) != std::string::npos) {
      pattern += '\\';
    }
    pattern += c == '\'' ? std::string(R"('\'')") : std::string(1, c);
  }
  return "--retry-failed --only '^" + pattern + "$'";
}

}  // namespace fusegrid
