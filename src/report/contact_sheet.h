#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

// A picture in whole numbers, as a pack stores it.
struct Picture {
  int64_t channels = 1;  // 1 (gray) or 3 (RGB)
  int64_t height = 0, width = 0;
  std::vector<uint8_t> values = {};  // [channels, height, width]
};

// Pictures in rows and columns as one PNG, whose bytes are returned. All have one size and number of channels; a row may
// have fewer than others. zoom: pixels of the sheet's side for one of a picture.
std::string contact_sheet(const std::vector<std::vector<Picture>>& rows, int64_t zoom = 2);

}  // namespace fusegrid
