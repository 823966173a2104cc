#include "core/count_text.h"

#include "core/text.h"

namespace fusegrid {

bool is_count(std::string_view text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string count_text(int64_t count, const std::string& noun) {
  const std::string ending = noun.ends_with('s') ? "es" : "s";
  return number_text(count) + " " + noun + (count == 1 ? "" : ending);
}

}  // namespace fusegrid
