// The eight tasks of the embedded zoo. The examples are in data/embedded.h5, made by tools/make_task_pack.py.
// The order alternates photographs, digits and letters, so that "the first three experts" is a mixed set.

#include "tasks/suite.h"

namespace fusegrid::suites::embedded8 {
namespace {

constexpr const char* kModality = "image classification";

const std::vector<TaskCard>& cards() {
  static const std::vector<TaskCard> all{
      {"fashion", "Clothing (Fashion-MNIST)", kModality, 10, "grey photographs of clothes",
       "the original test images; val is a part of the original training images"},
      {"mnist", "Handwritten digits (MNIST)", kModality, 10, "handwritten digits, white on black",
       "by image"},
      {"svdigits", "Street-view-like digits", kModality, 10,
       "a coloured digit in a text font over a crop of a map, often with neighbours",
       "by kin of font families and by block of the map"},
      {"upper26", "Latin capital letters", kModality, 26, "A to Z in text fonts, white on black",
       "by kin of font families"},
      {"hebrew22", "Hebrew letters", kModality, 22, "aleph to tav without final forms, white on black",
       "by kin of font families"},
      {"fontid12", "Which font family", kModality, 12, "a character drawn by one of twelve font families",
       "by character: val and test show characters that train does not"},
      {"cyrillic32", "Cyrillic letters", kModality, 32, "small Russian letters in text fonts, white on black",
       "by kin of font families"},
      {"terrain10", "Terrain from space", kModality, 10,
       "crops of a satellite map; classes from elevation, temperature and rain", "by block of the map"},
  };
  return all;
}

const bool registered = [] {
  suite_registry().add(
      "embedded8", {"embedded8", "embedded.h5", "tools/make_task_pack.py; licences in data/NOTICE", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::embedded8
