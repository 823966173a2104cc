#include "core/png.h"

#include <algorithm>
#include <array>

#include <openssl/evp.h>
#include <zlib.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr const char* kUrlStart = "data:image/png;base64,";
constexpr uint8_t kGray = 0, kRgb = 2;  // colour types

const Bytef* bytes_of(const std::string& text) {
  return reinterpret_cast<const Bytef*>(text.data());
}

void append_number(std::string& bytes, uLong number) {
  for (const int shift : {24, 16, 8, 0}) {
    bytes.push_back(static_cast<char>(number >> shift & 0xFF));
  }
}

void append_chunk(std::string& png, const std::string& type, const std::string& content) {
  append_number(png, content.size());
  const std::string checked = type + content;
  png += checked;
  append_number(png, crc32(0, bytes_of(checked), static_cast<uInt>(checked.size())));
}

// A zlib stream (RFC 1950) of blocks that are stored as they are (RFC 1951).
std::string stored(const std::string& bytes) {
  constexpr size_t kLongest = 65535;
  std::string stream("\x78\x01", 2);
  size_t begin = 0;
  do {
    const size_t size = std::min(kLongest, bytes.size() - begin);
    const bool last = begin + size == bytes.size();
    stream.push_back(static_cast<char>(last));
    for (const size_t length : {size, ~size}) {
      stream.push_back(static_cast<char>(length & 0xFF));
      stream.push_back(static_cast<char>(length >> 8 & 0xFF));
    }
    stream += bytes.substr(begin, size);
    begin += size;
  } while (begin < bytes.size());
  append_number(stream, adler32(1, bytes_of(bytes), static_cast<uInt>(bytes.size())));
  return stream;
}

}  // namespace

std::string png_of(const Picture& picture) {
  const int64_t row = picture.width * picture.channels;
  FUSEGRID_ASSERT(picture.height > 0 && row > 0 && (picture.channels == 1 || picture.channels == 3) &&
                      std::ssize(picture.values) == picture.height * row,
                  "a gray or RGB picture with all of its values");
  std::string header;
  append_number(header, static_cast<uLong>(picture.width));
  append_number(header, static_cast<uLong>(picture.height));
  for (const uint8_t byte : std::array<uint8_t, 5>{8, picture.channels == 1 ? kGray : kRgb, 0, 0, 0}) {
    header.push_back(static_cast<char>(byte));
  }
  std::string rows;
  for (int64_t y = 0; y < picture.height; ++y) {
    rows.push_back(0);  // no filter
    rows.append(picture.values.begin() + y * row, picture.values.begin() + (y + 1) * row);
  }
  std::string png("\x89PNG\r\n\x1a\n", 8);
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", stored(rows));
  append_chunk(png, "IEND", "");
  return png;
}

std::string png_url(const Picture& picture) {
  const std::string png = png_of(picture);
  std::string text(4 * ((png.size() + 2) / 3) + 1, '\0');
  const int written = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(png),
                                      static_cast<int>(png.size()));
  text.resize(static_cast<size_t>(written));
  return kUrlStart + text;
}

bool is_png_url(const std::string& text) {
  constexpr std::string_view kSigns = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  const std::string_view start(kUrlStart);
  return text.starts_with(start) && text.size() > start.size() &&
         text.find_first_not_of(kSigns, start.size()) == std::string::npos;
}

}  // namespace fusegrid
