#include "store/pack_arrays.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ops/empty.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "store/mapped_file.h"

namespace fusegrid::packs {
namespace {

constexpr int64_t kVersion = 2;
constexpr int64_t kMostPixels = 4096;            // of a side of an image
constexpr int64_t kMostEntriesOf16Bits = 65536;  // of a vocabulary
constexpr double kOffUnitLength = 0.01;          // of a normal

// Arrays of values of each pixel, and how many of them there are.
const std::map<std::string, std::vector<int64_t>> kMaps = {
    {"map_classes", {}}, {"map_depth", {}}, {"map_normals", {3}}};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> extents;
  for (const int64_t extent : shape) {
    extents.push_back(std::to_string(extent));
  }
  return "[" + join(extents, ", ") + "]";
}

std::vector<int64_t> map_shape(int64_t examples, const std::vector<int64_t>& values_of_pixel,
                               const ImageShape& image) {
  std::vector<int64_t> shape{examples};
  shape.insert(shape.end(), values_of_pixel.begin(), values_of_pixel.end());
  shape.insert(shape.end(), {image.height, image.width});
  return shape;
}

template <typename T>
at::Tensor as_longs(const std::vector<T>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

// Checks that offsets rise from 0 to `total`, so that all rows lie in the array.
void check_offsets(const std::string& where, const std::vector<uint32_t>& offsets, int64_t total) {
  if (offsets.front() != 0) {
    fail(where, "offsets must begin with 0, but they begin with " + std::to_string(offsets.front()));
  }
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i + 1] < offsets[i]) {
      fail(where, "offsets must rise, but " + std::to_string(offsets[i]) + " is followed by " +
                      std::to_string(offsets[i + 1]));
    }
  }
  if (offsets.back() != total) {
    fail(where, "offsets must end with the number of values, " + std::to_string(total) +
                    ", but they end with " + std::to_string(offsets.back()));
  }
}

void check_number_of_offsets(const hdf5::Dataset& dataset, int64_t rows, const std::string& what) {
  if (dataset.shape() != std::vector<int64_t>{rows + 1}) {
    fail(dataset.where(), "there must be one offset more than the " + std::to_string(rows) + " " + what +
                              ", but the shape is " + shape_text(dataset.shape()));
  }
}

// Those of the rows of a range, from 0 on: int64 [count + 1].
at::Tensor part_of_offsets(const std::vector<uint32_t>& offsets, Range range) {
  at::Tensor part = at::empty({range.count + 1}, at::kLong);
  const auto first = offsets.begin() + range.begin;
  std::transform(first, first + range.count + 1, part.mutable_data_ptr<int64_t>(),
                 [begin = int64_t{*first}](uint32_t offset) { return offset - begin; });
  return part;
}

template <typename T>
at::Tensor read_ids(const hdf5::Dataset& dataset, Range range, const TokenTable& table) {
  const auto stored = dataset.read<T>(range.begin, range.count);
  at::Tensor ids = at::empty({range.count}, at::kInt);
  auto* out = ids.mutable_data_ptr<int32_t>();
  for (const T id : stored) {
    if (id >= table.size()) {
      fail(dataset.where(), "ids must be less than the size of the vocabulary, " +
                                std::to_string(table.size()) + ", but one is " + std::to_string(id));
    }
    if (id == table.pad) {
      fail(dataset.where(), "the id of padding, " + std::to_string(id) +
                                ", must not be stored, but it is; rows are filled up where they are used");
    }
    *out++ = static_cast<int32_t>(id);
  }
  return ids;
}

// An id that is an attribute of the token table.
int64_t read_id(const hdf5::Group& group, const std::string& name, int64_t vocabulary) {
  const int64_t id = group.int_attribute(name);
  if (id < 0 || id >= vocabulary) {
    fail(group.where(), "the attribute '" + name + "' must be the id of one of the " +
                            std::to_string(vocabulary) + " entries of the vocabulary, but it is " +
                            std::to_string(id));
  }
  return id;
}

std::vector<std::string> read_entries(const hdf5::Group& group) {
  const auto dataset = group.dataset("bytes_offsets");
  if (dataset.shape().size() != 1 || dataset.shape()[0] < 2 ||
      dataset.shape()[0] > std::numeric_limits<int32_t>::max()) {
    fail(dataset.where(), "must have the shape [vocabulary + 1], but it is " + shape_text(dataset.shape()));
  }
  const std::string bytes = read_bytes(group, "bytes");
  const auto offsets = dataset.read<uint32_t>();
  check_offsets(dataset.where(), offsets, static_cast<int64_t>(bytes.size()));
  std::vector<std::string> entries;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    entries.push_back(bytes.substr(offsets[i], offsets[i + 1] - offsets[i]));
  }
  return entries;
}

// Of a split or source.
int64_t read_examples(const hdf5::Group& group) {
  const int64_t examples = group.int_attribute("examples");
  if (examples < 1 || examples >= std::numeric_limits<uint32_t>::max()) {
    fail(group.where(),
         "there must be at least one example and less than 2^32, but the attribute 'examples' says " +
             std::to_string(examples));
  }
  return examples;
}

}  // namespace

void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

void check_format(const hdf5::Group& root, const std::string& format, const std::string& maker) {
  const std::string seen = root.has_attribute("format") ? root.text_attribute("format") : "";
  if (seen != format) {
    fail(root.where(), "the attribute 'format' must be '" + format + "', but it is '" + seen + "'");
  }
  const int64_t version = root.int_attribute("version");
  if (version != kVersion) {
    fail(root.where(),
         "this program reads version " + std::to_string(kVersion) +
             " of the format, but the file has version " + std::to_string(version) + "; " +
             (version < kVersion ? "make it anew with " + maker : "use the program that it was made for"));
  }
}

void check_members(const hdf5::Group& group, const std::set<std::string>& expected, const std::string& rule) {
  const auto members = group.members();
  if (std::set<std::string>(members.begin(), members.end()) != expected) {
    fail(group.where(), rule + ", but here are " + (members.empty() ? "none" : join(members, ", ")));
  }
}

std::string read_bytes(const hdf5::Group& group, const std::string& name) {
  const auto dataset = group.dataset(name);
  if (dataset.shape().size() != 1 || dataset.shape()[0] == 0) {
    fail(dataset.where(),
         "must have the shape [bytes] and not be empty, but it is " + shape_text(dataset.shape()));
  }
  const auto bytes = dataset.read<uint8_t>();
  return {bytes.begin(), bytes.end()};
}

std::optional<TokenTable> read_token_table(const hdf5::Group& root) {
  if (!root.has("tokens")) {
    return std::nullopt;
  }
  const auto group = root.group("tokens");
  TokenTable table;
  table.entries = read_entries(group);
  table.pad = read_id(group, "pad", table.size());
  if (group.has_attribute("mask")) {
    table.mask = read_id(group, "mask", table.size());
  }
  if (group.has_attribute("separator")) {
    table.separator = read_id(group, "separator", table.size());
  }
  const auto special = group.dataset("special");
  const auto ids = special.read<uint32_t>();
  table.special = {ids.begin(), ids.end()};
  if (!table.special.empty() && *table.special.rbegin() >= table.size()) {
    fail(special.where(), "ids must be less than the size of the vocabulary, " +
                              std::to_string(table.size()) + ", but one is " +
                              std::to_string(*table.special.rbegin()));
  }
  table.tokenizer = read_bytes(group, "tokenizer");
  table.tokenizer_sha256 = group.text_attribute("tokenizer_sha256");
  if (const std::string seen = sha256_hex(table.tokenizer); seen != table.tokenizer_sha256) {
    fail(group.where(), "tokenizer_sha256 must be the digest of the tokenizer, " + seen + ", but it is '" +
                            table.tokenizer_sha256 + "'");
  }
  return table;
}

std::string to_string(const ImageShape& shape) {
  return shape_text({shape.channels, shape.height, shape.width});
}

Rows::Rows(hdf5::Group group) : group_(std::move(group)), examples_(read_examples(group_)) {
  for (const std::string array : {"labels", "styles", "values", "groups"}) {
    if (group_.has(array)) {
      check_length(array);
    }
  }
  if (group_.has("images")) {
    image_ = read_image_shape();
  }
  for (const auto& [array, values_of_pixel] : kMaps) {
    if (group_.has(array)) {
      check_map_shape(array, values_of_pixel);
    }
  }
  for (const std::string array : {"tokens", "answers", "partners"}) {
    if (group_.has(array)) {
      ragged_.emplace(array, read_offsets(array, examples_, "examples"));
    }
  }
  if (group_.has("choices")) {
    choices_rows_ = read_choices_rows();
    ragged_.emplace("choices", read_offsets("choices", choices_rows_.back(), "choices"));
  }
}

void Rows::check_length(const std::string& array) const {
  const auto dataset = group_.dataset(array);
  if (dataset.shape() != std::vector<int64_t>{examples_}) {
    fail(dataset.where(), "there must be one entry for each of the " + std::to_string(examples_) +
                              " examples, but the shape is " + shape_text(dataset.shape()));
  }
}

ImageShape Rows::read_image_shape() const {
  const auto images = group_.dataset("images");
  const auto& shape = images.shape();
  const auto is_side = [](int64_t pixels) { return pixels >= 1 && pixels <= kMostPixels; };
  if (shape.size() != 4 || shape[0] != examples_ || (shape[1] != 1 && shape[1] != 3) || !is_side(shape[2]) ||
      !is_side(shape[3])) {
    fail(images.where(), "images must have the shape [" + std::to_string(examples_) +
                             ", 1 or 3, height, width] with 1 to " + std::to_string(kMostPixels) +
                             " pixels a side, but it is " + shape_text(shape));
  }
  return {shape[1], shape[2], shape[3]};
}

void Rows::check_map_shape(const std::string& array, const std::vector<int64_t>& values_of_pixel) const {
  const auto dataset = group_.dataset(array);
  if (!image_) {
    fail(dataset.where(), "there must be images beside it, whose pixels it describes, but there are none");
  }
  const auto shape = map_shape(examples_, values_of_pixel, *image_);
  if (dataset.shape() != shape) {
    fail(dataset.where(), "there must be values for each pixel of the images, in the shape " +
                              shape_text(shape) + ", but it is " + shape_text(dataset.shape()));
  }
}

Rows::Ragged Rows::read_offsets(const std::string& ragged, int64_t rows, const std::string& what) const {
  const auto ids = group_.dataset(ragged);
  const auto dataset = group_.dataset(ragged + "_offsets");
  if (ids.shape().size() != 1) {
    fail(ids.where(), "must have the shape [tokens], but it is " + shape_text(ids.shape()));
  }
  check_number_of_offsets(dataset, rows, what);
  Ragged read{dataset.read<uint32_t>(), 0};
  check_offsets(dataset.where(), read.offsets, ids.shape()[0]);
  for (size_t i = 0; i + 1 < read.offsets.size(); ++i) {
    if (read.length(i) == 0) {
      fail(dataset.where(), "every row must have a token, but row " + std::to_string(i) +
                                " has none: it is an empty text; leave the example out");
    }
    read.longest = std::max(read.longest, read.length(i));
  }
  return read;
}

std::vector<uint32_t> Rows::read_choices_rows() const {
  const auto dataset = group_.dataset("choices_rows");
  check_number_of_offsets(dataset, examples_, "examples");
  auto rows = dataset.read<uint32_t>();
  check_offsets(dataset.where(), rows, rows.back());
  for (size_t i = 0; i + 1 < rows.size(); ++i) {
    if (rows[i + 1] - rows[i] < 2) {
      fail(dataset.where(), "an example must have two choices or more, but example " + std::to_string(i) +
                                " has " + std::to_string(rows[i + 1] - rows[i]) + "; leave the example out");
    }
  }
  return rows;
}

int64_t Rows::longest_with_choice() const {
  const Ragged& inputs = ragged_.at("tokens");
  const Ragged& choices = ragged_.at("choices");
  int64_t longest = 0;
  for (size_t i = 0; i + 1 < choices_rows_.size(); ++i) {
    for (size_t choice = choices_rows_[i]; choice < choices_rows_[i + 1]; ++choice) {
      longest = std::max(longest, inputs.length(i) + choices.length(choice));
    }
  }
  return longest;
}

at::Tensor Rows::images(Range range) const {
  const std::vector<int64_t> shape{range.count, image_->channels, image_->height, image_->width};
  if (const auto offset = group_.dataset("images").offset_of_bytes()) {
    const auto before = static_cast<uint64_t>(range.begin * shape[1] * shape[2] * shape[3]);
    return mapped_bytes(group_.file(), *offset + before, shape);
  }
  at::Tensor images = at::empty({range.count, image_->channels, image_->height, image_->width}, at::kByte);
  group_.dataset("images").read(range.begin, range.count, images.mutable_data_ptr<uint8_t>());
  return images;
}

at::Tensor Rows::labels(Range range, int64_t classes) const {
  return numbers_below("labels", range, classes, "classes");
}

at::Tensor Rows::styles(Range range, int64_t styles) const {
  return numbers_below("styles", range, styles, "styles");
}

at::Tensor Rows::numbers_below(const std::string& array, Range range, int64_t limit,
                               const std::string& what) const {
  const auto dataset = group_.dataset(array);
  const auto numbers = dataset.read<uint16_t>(range.begin, range.count);
  const auto largest = std::max_element(numbers.begin(), numbers.end());
  if (largest != numbers.end() && *largest >= limit) {
    fail(dataset.where(), array + " must be less than the number of " + what + ", " + std::to_string(limit) +
                              ", but one is " + std::to_string(*largest));
  }
  return as_longs(numbers);
}

at::Tensor Rows::values(Range range) const {
  const auto dataset = group_.dataset("values");
  at::Tensor values = at::empty({range.count}, at::kFloat);
  auto* begin = values.mutable_data_ptr<float>();
  dataset.read(range.begin, range.count, begin);
  for (int64_t i = 0; i < range.count; ++i) {
    if (!std::isfinite(begin[i])) {
      fail(dataset.where(), "values must be finite, but that of example " + std::to_string(range.begin + i) +
                                " is " + number_text(static_cast<double>(begin[i])));
    }
  }
  return values;
}

at::Tensor Rows::map_classes(Range range, int64_t classes, std::optional<int64_t> ignore) const {
  const auto dataset = group_.dataset("map_classes");
  const auto stored = dataset.read<uint16_t>(range.begin, range.count);
  at::Tensor map = at::empty(map_shape(range.count, {}, *image_), at::kInt);
  auto* out = map.mutable_data_ptr<int32_t>();
  for (const uint16_t value : stored) {
    if (value >= classes && value != ignore) {
      fail(dataset.where(), "classes must be less than their number, " + std::to_string(classes) +
                                (ignore ? ", or 'ignore', " + std::to_string(*ignore) : "") +
                                ", but one is " + std::to_string(value));
    }
    *out++ = value;
  }
  return map;
}

at::Tensor Rows::map_depth(Range range) const {
  const auto dataset = group_.dataset("map_depth");
  at::Tensor map = at::empty(map_shape(range.count, {}, *image_), at::kFloat);
  auto* values = map.mutable_data_ptr<float>();
  dataset.read(range.begin, range.count, values);
  for (int64_t i = 0; i < map.numel(); ++i) {
    if (!std::isnan(values[i]) && !(values[i] > 0 && std::isfinite(values[i]))) {
      fail(dataset.where(), "depths must be above 0 and finite, or NaN where nothing is known, but one is " +
                                number_text(static_cast<double>(values[i])));
    }
  }
  return map;
}

at::Tensor Rows::map_normals(Range range) const {
  const auto dataset = group_.dataset("map_normals");
  at::Tensor map = at::empty(map_shape(range.count, {3}, *image_), at::kFloat);
  auto* values = map.mutable_data_ptr<float>();
  dataset.read(range.begin, range.count, values);
  const int64_t pixels = image_->height * image_->width;
  for (int64_t i = 0; i < range.count * pixels; ++i) {
    const float* first = values + (i / pixels * 3) * pixels + i % pixels;
    const double x = first[0], y = first[pixels], z = first[2 * pixels];
    const bool unknown = std::isnan(x) && std::isnan(y) && std::isnan(z);
    if (const double length = std::sqrt(x * x + y * y + z * z);
        !unknown && !(std::abs(length - 1) < kOffUnitLength)) {
      fail(dataset.where(),
           "normals must be of length 1, or NaN where nothing is known, but the length of one is " +
               number_text(length));
    }
  }
  return map;
}

at::Tensor Rows::groups(Range range) const {
  return as_longs(group_.dataset("groups").read<uint32_t>(range.begin, range.count));
}

TokenRows Rows::tokens(const std::string& ragged, Range range, const TokenTable& table) const {
  const auto& offsets = ragged_.at(ragged).offsets;
  FUSEGRID_ASSERT(
      range.begin >= 0 && range.count >= 0 && range.begin < std::ssize(offsets) - range.count,
      where() + ": rows " + std::to_string(range.begin) + " to " + std::to_string(range.begin + range.count));
  const auto first = offsets.begin() + range.begin;
  const int64_t begin = *first;
  const Range ids{begin, first[range.count] - begin};
  const auto dataset = group_.dataset(ragged);
  TokenRows rows;
  rows.ids = table.size() <= kMostEntriesOf16Bits ? read_ids<uint16_t>(dataset, ids, table)
                                                  : read_ids<uint32_t>(dataset, ids, table);
  rows.offsets = part_of_offsets(offsets, range);
  return rows;
}

ChoiceRows Rows::choices(Range range, const TokenTable& table) const {
  const int64_t begin = choices_rows_.at(static_cast<size_t>(range.begin));
  const int64_t end = choices_rows_.at(static_cast<size_t>(range.begin + range.count));
  return {tokens("choices", {begin, end - begin}, table), part_of_offsets(choices_rows_, range)};
}

}  // namespace fusegrid::packs
