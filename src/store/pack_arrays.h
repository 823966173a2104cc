// What task packs and pretraining pools have in common (docs/packs.md): arrays with a row for each example, read by
// ranges of rows, and the token table. What breaks a rule of the format is a DataError that names the file and the
// object in it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "store/hdf5.h"
#include "store/tokens.h"

namespace fusegrid::packs {

constexpr int64_t kMostClasses = 65535;

struct Range {
  int64_t begin = 0;
  int64_t count = 0;
};

[[noreturn]] void fail(const std::string& where, const std::string& what);

// Checks the attributes "format" and "version".
//   maker   the command that makes such a file, for the message where it is of an earlier version
void check_format(const hdf5::Group& root, const std::string& format, const std::string& maker);
// Checks that the group has these members and no other.
//   rule   what the group has, for the message
void check_members(const hdf5::Group& group, const std::set<std::string>& expected, const std::string& rule);
// Of the dataset "name", which must not be empty.
std::string read_bytes(const hdf5::Group& group, const std::string& name);
// The group "tokens"; absent where there is none.
std::optional<TokenTable> read_token_table(const hdf5::Group& root);

struct ImageShape {
  int64_t channels = 0;  // 1 or 3
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const ImageShape&) const = default;
};
std::string to_string(const ImageShape& shape);

// The examples of a split or source. Opening checks that each array that is there has a row for every example, and
// reads the offsets of ragged ones; reading checks the values.
class Rows {
 public:
  explicit Rows(hdf5::Group group);
  const std::string& where() const { return group_.where(); }
  int64_t examples() const { return examples_; }
  const std::optional<ImageShape>& image() const { return image_; }  // absent where there are none
  bool has(const std::string& ragged) const { return ragged_.contains(ragged); }
  int64_t longest(const std::string& ragged) const { return ragged_.at(ragged).longest; }  // row, in tokens
  int64_t longest_with_choice() const;  // row of tokens and one of its choices together

  at::Tensor images(Range range) const;                   // uint8 [count, C, H, W]
  at::Tensor labels(Range range, int64_t classes) const;  // int64 [count], less than `classes`
  at::Tensor styles(Range range, int64_t styles) const;   // the same of their styles
  at::Tensor values(Range range) const;                   // float [count], finite
  // Of each pixel of the images. Classes: int32 [count, H, W], less than `classes`, or `ignore`. Depths: float [count,
  // H, W], metres above 0, or NaN. Normals: float [count, 3, H, W], of length 1, or NaN.
  at::Tensor map_classes(Range range, int64_t classes, std::optional<int64_t> ignore) const;
  at::Tensor map_depth(Range range) const;
  at::Tensor map_normals(Range range) const;
  at::Tensor groups(Range range) const;  // int64 [count]
  // Of a ragged array: ids of the table, none of them padding.
  TokenRows tokens(const std::string& ragged, Range range, const TokenTable& table) const;
  ChoiceRows choices(Range range, const TokenTable& table) const;  // of these examples

 private:
  struct Ragged {
    int64_t length(size_t row) const { return int64_t{offsets[row + 1]} - offsets[row]; }
    std::vector<uint32_t> offsets;
    int64_t longest = 0;
  };
  void check_length(const std::string& array) const;
  at::Tensor numbers_below(const std::string& array, Range range, int64_t limit,
                           const std::string& what) const;
  ImageShape read_image_shape() const;
  // That there is a value, or several, for each pixel of each image.
  void check_map_shape(const std::string& array, const std::vector<int64_t>& values_of_pixel) const;
  // rows: how many it has, one for each of `what`.
  Ragged read_offsets(const std::string& ragged, int64_t rows, const std::string& what) const;
  std::vector<uint32_t> read_choices_rows() const;

  hdf5::Group group_;
  int64_t examples_ = 0;
  std::optional<ImageShape> image_;
  std::map<std::string, Ragged> ragged_;
  std::vector<uint32_t> choices_rows_;  // where the choices of each example begin among all
};

}  // namespace fusegrid::packs
