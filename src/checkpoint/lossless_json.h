#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace fusegrid {

// JSON as Python's readers take it: besides the standard's values NaN, Infinity and -Infinity, numbers beyond 64 bits
// and beyond float64, and escapes of one half of a surrogate pair. nlohmann::json has no place for these; they are
// strings that begin with a mark, which no text of a file can be, and dump_lossless() writes them as they were. A byte
// order mark is skipped.
//
// Throws DataError, which names `file`, where the text is no JSON, nests deeper than 64 levels or has a key twice.
nlohmann::json parse_lossless(std::string_view text, const std::string& file);
std::string dump_lossless(const nlohmann::json& json, int indent);

}  // namespace fusegrid
