#include "cli/as_called.h"

#include <cstdlib>
#include <regex>

#include "cli/print.h"
#include "cli/program.h"

namespace fusegrid {
namespace {

constexpr const char* kName = "fusegrid";

std::string& called() {
  static std::string name = kName;
  return name;
}

// Our name as a word of its own, before a command: in "/home/fusegrid/x" and "fusegrid-zoo" it is no command.
const std::regex& pattern() {
  static const std::regex expression = [] {
    std::string commands = "COMMAND|ARGS|--version|--help|setup|build|test|quickstart";  // the script's too
    for (const auto& command : fusegrid::commands()) {
      commands += "|" + command.name;
    }
    return std::regex("(^|[\\s'\"`(])fusegrid(?= (" + commands + ")(?![\\w-]))");
  }();
  return expression;
}

}  // namespace

void remember_call(const std::string& program) {
  const char* command = std::getenv("FUSEGRID_COMMAND");
  called() = shell_quoted(command != nullptr && *command != '\0' ? command : program);
}

std::string as_called(const std::string& text) {
  if (called() == kName) {
    return text;
  }
  std::string name;
  for (const char c : called()) {  // '$' has a meaning in what std::regex_replace puts in
    name += c == '$' ? "$$" : std::string(1, c);
  }
  return std::regex_replace(text, pattern(), "$1" + name);
}

}  // namespace fusegrid
