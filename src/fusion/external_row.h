// Rows of a grid whose models are made elsewhere: [external:NAME], what a command of the user's writes, and
// [folder:NAME], a model that is there already. The name of the section is the name of the method in cells; what is
// behind it is a binding of these cells alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/cell.h"
#include "fusion/method.h"

namespace fusegrid {

// In a command: the JSON file that says what is to be merged, and where the result is to be written.
inline constexpr const char* kRequestWord = "{request}";

struct ExternalRow {
  std::string command = {};             // as written; "" of a folder
  std::vector<std::string> words = {};  // of the command: its program and arguments
  int64_t timeout_s = 3600;             // of the command
  std::string path = {};                // of a folder, where {seed} and {experts} stand for those of the cell
  // SHA-256 as they were when the run began: of the files that the command names, or of the parameters of the folders.
  std::map<std::string, std::string> digests = {};
};
void to_json(nlohmann::json& json, const ExternalRow& row);
void from_json(const nlohmann::json& json, ExternalRow& row);

// The program that a command starts: its first word, looked for in $PATH where there is no '/' in it. ConfigError where
// it is nowhere, or cannot be executed.
std::filesystem::path program_of(const ExternalRow& row);

// The folder that the model of the cell is in.
std::filesystem::path folder_of(const ExternalRow& row, const Cell& cell);

bool is_external(const std::string& method);  // "external:NAME" or "folder:NAME"
// What method_registry() knows such a method by, whatever its name; nullptr where it is none. Its card follows from the
// name, so that every process has it without having read the job.
const Method* external_method(const std::string& method);

}  // namespace fusegrid
