// PNG (ISO/IEC 15948) needs a few chunks around what zlib compresses, so no library of images is linked for it.
#include "report/contact_sheet.h"

#include <algorithm>
#include <array>

#include <zlib.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kGap = 2;             // pixels around each picture, in those of the sheet
constexpr uint8_t kBackground = 128;    // of gaps
constexpr uint8_t kGray = 0, kRgb = 2;  // colour types

void append_number(std::string& bytes, uint32_t number) {
  for (const int shift : {24, 16, 8, 0}) {
    bytes.push_back(static_cast<char>(number >> shift & 0xFF));
  }
}

void append_chunk(std::string& png, const std::string& type, const std::string& content) {
  append_number(png, static_cast<uint32_t>(content.size()));
  const std::string checked = type + content;
  png += checked;
  append_number(png, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(checked.data()),
                                                 static_cast<uInt>(checked.size()))));
}

std::string compressed(const std::string& bytes) {
  uLongf size = compressBound(static_cast<uLong>(bytes.size()));
  std::string out(size, '\0');
  const int status =
      compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                static_cast<uLong>(bytes.size()), Z_BEST_COMPRESSION);
  FUSEGRID_ASSERT(status == Z_OK, "zlib has room for what it compresses");
  out.resize(size);
  return out;
}

// Pixels row by row, channels last, each row behind a byte that says that it is stored as it is.
class Canvas {
 public:
  Canvas(int64_t channels, int64_t height, int64_t width)
      : channels_(channels),
        height_(height),
        width_(width),
        bytes_(static_cast<size_t>(height * (1 + width * channels)), static_cast<char>(kBackground)) {
    for (int64_t y = 0; y < height; ++y) {
      bytes_[static_cast<size_t>(y * (1 + width * channels))] = 0;
    }
  }
  void draw(const Picture& picture, int64_t top, int64_t left, int64_t zoom) {
    for (int64_t y = 0; y < picture.height * zoom; ++y) {
      for (int64_t x = 0; x < picture.width * zoom; ++x) {
        for (int64_t c = 0; c < channels_; ++c) {
          const int64_t from = (c * picture.height + y / zoom) * picture.width + x / zoom;
          const int64_t to = (top + y) * (1 + width_ * channels_) + 1 + (left + x) * channels_ + c;
          bytes_[static_cast<size_t>(to)] = static_cast<char>(picture.values[static_cast<size_t>(from)]);
        }
      }
    }
  }
  std::string png() const {
    std::string header;
    append_number(header, static_cast<uint32_t>(width_));
    append_number(header, static_cast<uint32_t>(height_));
    for (const uint8_t byte : std::array<uint8_t, 5>{8, channels_ == 1 ? kGray : kRgb, 0, 0, 0}) {
      header.push_back(static_cast<char>(byte));
    }
    std::string png("\x89PNG\r\n\x1a\n", 8);
    append_chunk(png, "IHDR", header);
    append_chunk(png, "IDAT", compressed(bytes_));
    append_chunk(png, "IEND", "");
    return png;
  }

 private:
  int64_t channels_, height_, width_;
  std::string bytes_;
};

}  // namespace

std::string contact_sheet(const std::vector<std::vector<Picture>>& rows, int64_t zoom) {
  const Picture* first = nullptr;
  size_t columns = 0;
  for (const std::vector<Picture>& row : rows) {
    columns = std::max(columns, row.size());
    for (const Picture& picture : row) {
      first = first == nullptr ? &picture : first;
      const int64_t values = picture.channels * picture.height * picture.width;
      FUSEGRID_ASSERT(picture.channels == first->channels && picture.height == first->height &&
                          picture.width == first->width && std::ssize(picture.values) == values,
                      "pictures of a sheet have one size");
    }
  }
  FUSEGRID_ASSERT(first != nullptr && zoom > 0, "a sheet has pictures");
  const int64_t down = first->height * zoom + kGap, across = first->width * zoom + kGap;
  Canvas canvas(first->channels, kGap + down * std::ssize(rows),
                kGap + across * static_cast<int64_t>(columns));
  for (size_t y = 0; y < rows.size(); ++y) {
    for (size_t x = 0; x < rows[y].size(); ++x) {
      canvas.draw(rows[y][x], kGap + down * static_cast<int64_t>(y), kGap + across * static_cast<int64_t>(x),
                  zoom);
    }
  }
  return canvas.png();
}

}  // namespace fusegrid
