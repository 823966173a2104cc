// What lies in the folders of a zoo's models beside their weights.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

namespace fusegrid {

// Content by name of what belongs to a model and to those that are trained from it (tokenizer, preprocessing, licence);
// without its config.json, its origin, and folders.
std::map<std::string, std::string> files_beside_weights(const std::filesystem::path& folder);

// provenance.json; an empty object where it is missing or cannot be read.
nlohmann::json read_provenance(const std::filesystem::path& folder);

// SHA-256 of tokenizer.json; "" where there is none.
std::string tokenizer_digest(const std::filesystem::path& folder);

}  // namespace fusegrid
