#include "core/png.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace fusegrid::png_test {
namespace {

uint32_t number_at(const std::string& bytes, size_t place) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) {
    number = number << 8 | static_cast<uint8_t>(bytes.at(place + i));
  }
  return number;
}

// What the chunk of pixels says, read by zlib.
std::string pixels_of(const std::string& png, size_t size) {
  const size_t place = png.find("IDAT");
  std::string pixels(size, '\0');
  uLongf found = size;
  EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(pixels.data()), &found,
                       reinterpret_cast<const Bytef*>(png.data() + place + 4), number_at(png, place - 4)),
            Z_OK);
  EXPECT_EQ(found, size);
  return pixels;
}

TEST(Png, has_the_pixels_row_by_row) {
  const std::string png = png_of({1, 2, 3, {1, 2, 3, 4, 5, 6}});
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(number_at(png, 16), 3U);  // width
  EXPECT_EQ(number_at(png, 20), 2U);  // height
  EXPECT_EQ(png.substr(24, 5), std::string("\x08\x00\x00\x00\x00", 5));
  EXPECT_EQ(pixels_of(png, 8), std::string("\x00\x01\x02\x03\x00\x04\x05\x06", 8));
}

TEST(Png, has_checksums_of_all_chunks) {
  const std::string png = png_of({3, 1, 1, {9, 8, 7}});
  size_t place = 8, chunks = 0;
  while (place < png.size()) {
    const uint32_t length = number_at(png, place);
    const auto* content = reinterpret_cast<const Bytef*>(png.data() + place + 4);
    EXPECT_EQ(number_at(png, place + 8 + length), crc32(0, content, length + 4));
    place += 12 + length;
    ++chunks;
  }
  EXPECT_EQ(place, png.size());
  EXPECT_EQ(chunks, 3U);
  EXPECT_EQ(png[25], 2) << "RGB";
}

TEST(Png, of_many_pixels_is_stored_in_several_blocks) {
  Picture picture{1, 300, 400, {}};
  for (int64_t i = 0; i < 300 * 400; ++i) {
    picture.values.push_back(static_cast<uint8_t>(i * i % 251));
  }
  const std::string pixels = pixels_of(png_of(picture), 300 * 401);
  for (int64_t y = 0; y < 300; ++y) {
    for (int64_t x = 0; x < 400; ++x) {
      ASSERT_EQ(static_cast<uint8_t>(pixels[static_cast<size_t>(y * 401 + 1 + x)]),
                picture.values[static_cast<size_t>(y * 400 + x)]);
    }
  }
}

TEST(Png, is_told_from_other_texts) {
  const std::string url = png_url({1, 1, 1, {200}});
  EXPECT_TRUE(is_png_url(url));
  EXPECT_TRUE(url.starts_with("data:image/png;base64,iVBORw0KGgo"));
  EXPECT_FALSE(is_png_url(url + "\" onload=\"alert(1)"));
  EXPECT_FALSE(is_png_url("data:text/html;base64,AAAA"));
  EXPECT_FALSE(is_png_url("data:image/png;base64,"));
  EXPECT_FALSE(is_png_url(""));
}

}  // namespace
}  // namespace fusegrid::png_test
