// A command line of the user's that a run starts, without a shell.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fusegrid {

// In a command: the JSON file that says what it is asked for, and where the answer is to be written.
inline constexpr const char* kRequestWord = "{request}";

struct UserCommand {
  std::string text = {};                // as written
  std::vector<std::string> words = {};  // its program and arguments
  int64_t timeout_s = 3600;             // until it is killed
  // SHA-256 of the files that it names, as they were when the run began.
  std::map<std::string, std::string> files = {};
};
void to_json(nlohmann::json& json, const UserCommand& command);
void from_json(const nlohmann::json& json, UserCommand& command);

// The program that a command starts: its first word, looked for in $PATH where there is no '/' in it. ConfigError where
// it is nowhere, or cannot be executed.
std::filesystem::path program_of(const UserCommand& command);

// Digests the files among its words, whose content decides what it does; a program that was found in $PATH is the
// system's, and left alone. Throws as program_of() and sha256_of_file().
void digest_files(UserCommand& command);
// DataError where one of them is another one now.
void check_files(const UserCommand& command);

}  // namespace fusegrid
