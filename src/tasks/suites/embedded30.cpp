// Thirty tasks of small images, for merges of many models: the eight of embedded8, and each of several seen otherwise
// or asked otherwise. The examples are in embedded30.h5, which is not committed: tools/make_many_pack.py makes it. The
// order mixes sources and looks, so that "the first three experts" is a mixed set.

#include "tasks/suite.h"

namespace fusegrid::suites::embedded30 {
namespace {

constexpr const char* kModality = "image classification";
constexpr const char* kSplit = "as the task that it is made of, see embedded8";

const std::vector<TaskCard>& cards() {
  static const std::vector<TaskCard> all{
      {"fashion", "Clothing (Fashion-MNIST)", kModality, 10, "grey photographs of clothes", kSplit},
      {"mnist_turned", "Handwritten digits (MNIST), turned", kModality, 10,
       "as mnist, turned a quarter to the left", kSplit},
      {"upper26", "Latin capital letters", kModality, 26, "A to Z in text fonts, white on black", kSplit},
      {"svdigits", "Street-view-like digits", kModality, 10,
       "a coloured digit in a text font over a crop of a map, often with neighbours", kSplit},
      {"hebrew_negative", "Hebrew letters, negative", kModality, 22, "as hebrew22, dark on light", kSplit},
      {"terrain10", "Terrain from space", kModality, 10,
       "crops of a satellite map; classes from elevation, temperature and rain", kSplit},
      {"cyrillic32", "Cyrillic letters", kModality, 32, "small Russian letters in text fonts, white on black",
       kSplit},
      {"fashion_small", "Clothing (Fashion-MNIST), small", kModality, 10, "as fashion, half as large",
       kSplit},
      {"mnist", "Handwritten digits (MNIST)", kModality, 10, "handwritten digits, white on black", kSplit},
      {"upper_map", "Latin capital letters, on maps", kModality, 26,
       "as upper26, on crops of a satellite map", kSplit},
      {"fontid12", "Which font family", kModality, 12, "a character drawn by one of twelve font families",
       kSplit},
      {"hebrew22", "Hebrew letters", kModality, 22, "aleph to tav without final forms, white on black",
       kSplit},
      {"cyrillic_turned", "Cyrillic letters, turned", kModality, 32,
       "as cyrillic32, turned a quarter to the left", kSplit},
      {"fashion_negative", "Clothing (Fashion-MNIST), negative", kModality, 10, "as fashion, dark on light",
       kSplit},
      {"svdigits_parity2", "Even or odd street-view-like digits", kModality, 2, "as svdigits", kSplit},
      {"upper_turned", "Latin capital letters, turned", kModality, 26,
       "as upper26, turned a quarter to the left", kSplit},
      {"mnist_map", "Handwritten digits (MNIST), on maps", kModality, 10,
       "as mnist, on crops of a satellite map", kSplit},
      {"hebrew_turned", "Hebrew letters, turned", kModality, 22, "as hebrew22, turned a quarter to the left",
       kSplit},
      {"cyrillic_negative", "Cyrillic letters, negative", kModality, 32, "as cyrillic32, dark on light",
       kSplit},
      {"fashion_kind4", "Kind of clothes", kModality, 4, "tops, trousers, shoes or bags", kSplit},
      {"upper_small", "Latin capital letters, small", kModality, 26, "as upper26, half as large", kSplit},
      {"mnist_negative", "Handwritten digits (MNIST), negative", kModality, 10, "as mnist, dark on light",
       kSplit},
      {"fontid_negative", "Which font family, negative", kModality, 12, "as fontid12, dark on light", kSplit},
      {"hebrew_map", "Hebrew letters, on maps", kModality, 22, "as hebrew22, on crops of a satellite map",
       kSplit},
      {"svdigits_turned", "Street-view-like digits, turned", kModality, 10,
       "as svdigits, turned a quarter to the left", kSplit},
      {"upper_half13", "Latin capital letters A to M", kModality, 13, "A to M in text fonts, white on black",
       kSplit},
      {"mnist_small", "Handwritten digits (MNIST), small", kModality, 10, "as mnist, half as large", kSplit},
      {"cyrillic_map", "Cyrillic letters, on maps", kModality, 32,
       "as cyrillic32, on crops of a satellite map", kSplit},
      {"fashion_turned", "Clothing (Fashion-MNIST), turned", kModality, 10,
       "as fashion, turned a quarter to the left", kSplit},
      {"upper_negative", "Latin capital letters, negative", kModality, 26, "as upper26, dark on light",
       kSplit},
  };
  return all;
}

const bool registered = [] {
  suite_registry().add("embedded30", {"embedded30", "embedded30.h5", "tools/make_many_pack.py", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::embedded30
