// Rows of a grid whose models are made elsewhere: [external:NAME], what a command of the user's writes, and
// [folder:NAME], a model that is there already. The name of the section is the name of the method in cells; what is
// behind it is a binding of these cells alone.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "core/cell.h"
#include "core/user_command.h"
#include "fusion/method.h"

namespace fusegrid {

// A command, or a folder.
struct ExternalRow {
  UserCommand command = {};
  std::string path = {};  // where {seed} and {experts} stand for those of the cell
  // SHA-256 of the parameters of the folders, as they were when the run began.
  std::map<std::string, std::string> digests = {};
};
void to_json(nlohmann::json& json, const ExternalRow& row);
void from_json(const nlohmann::json& json, ExternalRow& row);

// The folder that the model of the cell is in.
std::filesystem::path folder_of(const ExternalRow& row, const Cell& cell);

bool is_external(const std::string& method);  // "external:NAME" or "folder:NAME"
// What method_registry() knows such a method by, whatever its name; nullptr where it is none. Its card follows from the
// name, so that every process has it without having read the job.
const Method* external_method(const std::string& method);

}  // namespace fusegrid
