#include "core/count_text.h"

namespace fusegrid {

bool is_count(std::string_view text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace fusegrid
