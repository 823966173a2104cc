#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fusegrid {

// Whether a text is a plain count ("8") and no list of names: digits alone, few enough for any integer. Of `experts`,
// which may be either.
bool is_count(std::string_view text);

// "<n> <noun>" with its plural ending (-s, -es) where it is due.
std::string count_text(int64_t count, const std::string& noun);

}  // namespace fusegrid
