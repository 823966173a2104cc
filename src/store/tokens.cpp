#include "store/tokens.h"

#include "core/errors.h"

namespace fusegrid {

int64_t TokenRows::size() const {
  return offsets.size(0) - 1;
}

std::span<const int32_t> TokenRows::row(int64_t index) const {
  FUSEGRID_ASSERT(index >= 0 && index < size(), "row " + std::to_string(index));
  const auto* offset = offsets.const_data_ptr<int64_t>() + index;
  return {ids.const_data_ptr<int32_t>() + offset[0], static_cast<size_t>(offset[1] - offset[0])};
}

std::string TokenTable::text(std::span<const int32_t> row) const {
  std::string text;
  for (const int32_t id : row) {
    FUSEGRID_ASSERT(id >= 0 && id < size(), "token " + std::to_string(id));
    if (!special.contains(id)) {
      text += entries[static_cast<size_t>(id)];
    }
  }
  return text.starts_with(' ') ? text.substr(1) : text;
}

}  // namespace fusegrid
