#include "report/contact_sheet.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace fusegrid::contact_sheet_test {
namespace {

uint32_t number_at(const std::string& bytes, size_t place) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) {
    number = number << 8 | static_cast<uint8_t>(bytes.at(place + i));
  }
  return number;
}

struct Decoded {
  uint32_t width = 0, height = 0;
  uint8_t colour = 0;
  std::string rows;  // with the byte in front of each
};

// Reads the three chunks that a sheet has, and checks their sums.
Decoded decoded(const std::string& png, size_t bytes_of_pixel) {
  EXPECT_EQ(png.substr(0, 8), std::string("\x89PNG\r\n\x1a\n", 8));
  Decoded sheet;
  std::string end;
  for (size_t place = 8; place < png.size();) {
    const uint32_t size = number_at(png, place);
    const std::string type = png.substr(place + 4, 4), content = png.substr(place + 8, size);
    const std::string checked = type + content;
    EXPECT_EQ(number_at(png, place + 8 + size),
              crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size())));
    if (type == "IHDR") {
      sheet.width = number_at(content, 0);
      sheet.height = number_at(content, 4);
      sheet.colour = static_cast<uint8_t>(content.at(9));
      EXPECT_EQ(content.at(8), 8) << "bits of a channel";
    } else if (type == "IDAT") {
      uLongf room = sheet.height * (1 + sheet.width * bytes_of_pixel);
      sheet.rows.resize(room);
      EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(sheet.rows.data()), &room,
                           reinterpret_cast<const Bytef*>(content.data()), content.size()),
                Z_OK);
      EXPECT_EQ(room, sheet.rows.size());
    }
    end = type;
    place += 12 + size;
  }
  EXPECT_EQ(end, "IEND");
  return sheet;
}

TEST(ContactSheet, IsAPngOfThePicturesWithGapsAroundThem) {
  const Picture dark{1, 1, 2, {0, 10}}, bright{1, 1, 2, {200, 250}};
  const Decoded sheet = decoded(contact_sheet({{dark, bright}, {bright}}, 1), 1);
  EXPECT_EQ(sheet.width, 2U + 2 * (2 + 2));
  EXPECT_EQ(sheet.height, 2U + 2 * (1 + 2));
  EXPECT_EQ(sheet.colour, 0);
  const auto pixel = [&](size_t y, size_t x) {
    return static_cast<uint8_t>(sheet.rows.at(y * (1 + sheet.width) + 1 + x));
  };
  EXPECT_EQ(pixel(2, 2), 0);
  EXPECT_EQ(pixel(2, 3), 10);
  EXPECT_EQ(pixel(2, 4), 128) << "a gap";
  EXPECT_EQ(pixel(2, 7), 250);
  EXPECT_EQ(pixel(5, 2), 200);
  EXPECT_EQ(pixel(5, 6), 128) << "a row with fewer pictures";
}

TEST(ContactSheet, EnlargesPicturesInColour) {
  const Picture red{3, 1, 1, {255, 1, 2}};
  const Decoded sheet = decoded(contact_sheet({{red}}, 3), 3);
  EXPECT_EQ(sheet.width, 7U);
  EXPECT_EQ(sheet.colour, 2);
  const size_t middle = 3 * (1 + 7 * 3) + 1 + 3 * 3;
  EXPECT_EQ(static_cast<uint8_t>(sheet.rows.at(middle)), 255);
  EXPECT_EQ(static_cast<uint8_t>(sheet.rows.at(middle + 2)), 2);
}

}  // namespace
}  // namespace fusegrid::contact_sheet_test
