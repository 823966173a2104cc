#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

struct Picture {
  int64_t channels = 1;  // 1 (gray) or 3 (RGB)
  int64_t height = 0, width = 0;
  std::vector<uint8_t> values = {};  // [height, width, channels]
};

// A file of PNG (ISO/IEC 15948) without compression, so that its bytes are a function of the picture alone and not of
// the version of a library.
std::string png_of(const Picture& picture);

// The file as a URL that a page can show: "data:image/png;base64,...".
std::string png_url(const Picture& picture);
// Whether a text is such a URL and nothing else.
bool is_png_url(const std::string& text);

}  // namespace fusegrid
