#pragma once

#include <string_view>

namespace fusegrid {

// Whether a text is a plain count ("8") and no list of names: digits alone, few enough for any integer. Of `experts`,
// which may be either.
bool is_count(std::string_view text);

}  // namespace fusegrid
