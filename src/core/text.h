#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrid {

// Shortest decimal text that reads back as the same number: part of the identity of cells.
std::string number_text(double value);
std::string number_text(int64_t value);

// Reads a whole number or a decimal number; nullopt-free: throws ConfigError naming `what` on trailing text,
// NaN or overflow.
double parse_double(std::string_view text, const std::string& what);
int64_t parse_int(std::string_view text, const std::string& what);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string trim(std::string_view text);
// The first `most` of `names` for messages: "a, b, c and 12 more".
std::string some_names(const std::vector<std::string>& names, size_t most);

// The entry of `known` nearest to `name` in edit distance, or "" when none is near: for "did you mean ...?".
std::string nearest(const std::string& name, const std::vector<std::string>& known);

}  // namespace fusegrid
