#include "core/user_command.h"

#include <cstdlib>

#include <unistd.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

bool can_be_executed(const std::filesystem::path& program) {
  std::error_code none;
  return std::filesystem::is_regular_file(program, none) && access(program.c_str(), X_OK) == 0;
}

}  // namespace

void to_json(nlohmann::json& json, const UserCommand& command) {
  json = {{"text", command.text},
          {"words", command.words},
          {"timeout_s", command.timeout_s},
          {"files", command.files}};
}

void from_json(const nlohmann::json& json, UserCommand& command) {
  command = {.text = json.at("text"),
             .words = json.at("words"),
             .timeout_s = json.at("timeout_s"),
             .files = json.at("files")};
}

std::filesystem::path program_of(const UserCommand& command) {
  const std::string& name = command.words.at(0);
  const bool is_path = name.find('/') != std::string::npos;
  if (is_path && can_be_executed(name)) {
    return name;
  }
  const char* path = std::getenv("PATH");
  for (const std::string& folder :
       is_path || path == nullptr ? std::vector<std::string>() : split(path, ':')) {
    const std::filesystem::path program = std::filesystem::path(folder.empty() ? "." : folder) / name;
    if (can_be_executed(program)) {
      return program;
    }
  }
  throw ConfigError("the first word of 'command' must be a program that can be executed, but '" + name +
                    "' " + (is_path ? "is none" : "is none in $PATH") +
                    "; correct it, or install the program");
}

void digest_files(UserCommand& command) {
  const std::filesystem::path program = program_of(command);
  for (size_t i = 0; i < command.words.size(); ++i) {
    const std::string& word = command.words[i];
    const bool is_searched = i == 0 && program != word;
    std::error_code none;
    if (!is_searched && std::filesystem::is_regular_file(word, none)) {
      command.files[word] = sha256_of_file(word);
    }
  }
}

void check_files(const UserCommand& command) {
  for (const auto& [file, sha256] : command.files) {
    if (sha256_of_file(file) != sha256) {
      throw DataError("the command '" + command.text + "' names '" + file +
                      "', which has changed since the run began; run the same job again");
    }
  }
}

}  // namespace fusegrid
