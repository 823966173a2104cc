#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

struct DtypeRow {
  FileDtype dtype;
  std::string_view name;
  uint64_t bits;
};
// In the order of the enumerators.
constexpr std::array<DtypeRow, 22> kDtypes{{
    {FileDtype::kBool, "BOOL", 8},
    {FileDtype::kF4, "F4", 4},
    {FileDtype::kF6E2M3, "F6_E2M3", 6},
    {FileDtype::kF6E3M2, "F6_E3M2", 6},
    {FileDtype::kU8, "U8", 8},
    {FileDtype::kI8, "I8", 8},
    {FileDtype::kF8E5M2, "F8_E5M2", 8},
    {FileDtype::kF8E4M3, "F8_E4M3", 8},
    {FileDtype::kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    {FileDtype::kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    {FileDtype::kF8E8M0, "F8_E8M0", 8},
    {FileDtype::kI16, "I16", 16},
    {FileDtype::kU16, "U16", 16},
    {FileDtype::kF16, "F16", 16},
    {FileDtype::kBF16, "BF16", 16},
    {FileDtype::kI32, "I32", 32},
    {FileDtype::kU32, "U32", 32},
    {FileDtype::kF32, "F32", 32},
    {FileDtype::kI64, "I64", 64},
    {FileDtype::kU64, "U64", 64},
    {FileDtype::kF64, "F64", 64},
    {FileDtype::kC64, "C64", 64},
}};

const DtypeRow& row_of(FileDtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)];
}

FileDtype parse_dtype(JsonScanner& in) {
  const std::string text = in.string();
  const auto* const it =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeRow& row) { return row.name == text; });
  if (it == kDtypes.end()) {
    in.fail("a dtype must be one of the format's, but it is " + printable(text));
  }
  return it->dtype;
}

std::vector<int64_t> parse_shape(JsonScanner& in) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> shape;
  uint64_t product = 1;  // zeros left out: strides of an empty tensor must not overflow either
  in.expect('[');
  for (bool more = !in.accept(']'); more; more = in.next_item(']')) {
    const uint64_t size = in.whole_number();
    if (size > kMax || (size > 0 && product > kMax / size)) {
      in.fail("the product of a tensor's sizes must be below 2^63, but it overflows at " +
              std::to_string(size));
    }
    if (shape.size() == kMaxDimensions) {
      in.fail("a tensor must have at most " + std::to_string(kMaxDimensions) +
              " dimensions, but it has more");
    }
    product *= std::max<uint64_t>(size, 1);
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

std::pair<uint64_t, uint64_t> parse_offsets(JsonScanner& in) {
  in.expect('[');
  const uint64_t begin = in.whole_number();
  in.expect(',');
  const uint64_t end = in.whole_number();
  in.expect(']');
  return {begin, end};
}

void check_name(const JsonScanner& in, const std::string& name) {
  if (name.size() > kMaxNameBytes) {
    in.fail("the name of a tensor must have at most " + std::to_string(kMaxNameBytes) + " bytes, but " +
            printable(name) + " has " + std::to_string(name.size()));
  }
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; })) {
    in.fail("the name of a tensor must have no control characters, but " + printable(name) + " has");
  }
}

FileTensor parse_tensor(JsonScanner& in, std::string name) {
  std::optional<FileDtype> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::pair<uint64_t, uint64_t>> offsets;
  in.expect('{');
  for (bool more = !in.accept('}'); more; more = in.next_item('}')) {
    const std::string field = in.key();
    if (field == "dtype" && !dtype) {
      dtype = parse_dtype(in);
    } else if (field == "shape" && !shape) {
      shape = parse_shape(in);
    } else if (field == "data_offsets" && !offsets) {
      offsets = parse_offsets(in);
    } else {
      in.fail("a tensor must have the fields dtype, shape and data_offsets once each, but " +
              printable(name) + " has another " + printable(field));
    }
  }
  if (!dtype || !shape || !offsets) {
    in.fail("a tensor must have the fields dtype, shape and data_offsets, but " + printable(name) +
            " has no " +
            (!dtype   ? "dtype"
             : !shape ? "shape"
                      : "data_offsets"));
  }
  return {std::move(name), *dtype, *std::move(shape), offsets->first, offsets->second};
}

std::map<std::string, std::string> parse_metadata(JsonScanner& in) {
  std::map<std::string, std::string> metadata;
  in.expect('{');
  for (bool more = !in.accept('}'); more; more = in.next_item('}')) {
    const std::string key = in.key();
    if (!metadata.emplace(key, in.string()).second) {
      in.fail("a key of __metadata__ must occur once, but " + printable(key) + " occurs twice");
    }
  }
  return metadata;
}

[[noreturn]] void fail(const std::string& file, const std::string& message) {
  throw DataError("'" + file + "' is not a valid safetensors file: " + message);
}

std::string range_text(const FileTensor& tensor) {
  return "[" + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + ")";
}

void check_size(const FileTensor& tensor, const std::string& file) {
  const auto numel = static_cast<uint64_t>(tensor.numel());
  const uint64_t bits = bits_of(tensor.dtype);
  if (numel > std::numeric_limits<uint64_t>::max() / bits || numel * bits % 8 != 0) {
    fail(file, "the data of a tensor must be a whole number of bytes below 2^61, but " +
                   printable(tensor.name) + " has " + std::to_string(numel) + " elements of " +
                   std::to_string(bits) + " bits");
  }
  if (tensor.begin > tensor.end || tensor.end - tensor.begin != numel * bits / 8) {
    fail(file, "data_offsets must span the tensor, but those of " + printable(tensor.name) + " are " +
                   range_text(tensor) + " for " + std::to_string(numel * bits / 8) + " bytes");
  }
}

void check_tiling(const std::vector<FileTensor>& tensors, uint64_t data_bytes, const std::string& file) {
  std::vector<const FileTensor*> by_offset;
  for (const auto& tensor : tensors) {
    check_size(tensor, file);
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const FileTensor* a, const FileTensor* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t covered = 0;
  for (const auto* const tensor : by_offset) {
    if (tensor->begin != covered) {
      fail(file, "tensors must follow one another without hole or overlap, but " + printable(tensor->name) +
                     " has the bytes " + range_text(*tensor) + " where byte " + std::to_string(covered) +
                     " is next");
    }
    covered = tensor->end;
  }
  if (covered != data_bytes) {
    fail(file, "tensors must cover the data exactly, but they cover " + std::to_string(covered) +
                   " bytes and the file has " + std::to_string(data_bytes) + " behind its header" +
                   (covered > data_bytes ? " (is it truncated?)" : ""));
  }
}

void sort_by_name(std::vector<FileTensor>& tensors, const std::string& file) {
  std::sort(tensors.begin(), tensors.end(),
            [](const FileTensor& a, const FileTensor& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(tensors.begin(), tensors.end(),
                         [](const FileTensor& a, const FileTensor& b) { return a.name == b.name; });
  if (twice != tensors.end()) {
    fail(file, "the name of a tensor must occur once, but " + printable(twice->name) + " occurs twice");
  }
}

}  // namespace

std::string_view to_string(FileDtype dtype) {
  return row_of(dtype).name;
}

uint64_t bits_of(FileDtype dtype) {
  return row_of(dtype).bits;
}

int64_t FileTensor::numel() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

const FileTensor* SafetensorsHeader::find(const std::string& name) const {
  const auto it =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const FileTensor& tensor, const std::string& key) { return tensor.name < key; });
  return it != tensors.end() && it->name == name ? &*it : nullptr;
}

ByteRange byte_range(const FileTensor& tensor, int64_t begin, int64_t count) {
  const int64_t numel = tensor.numel();
  FUSEGRID_ASSERT(begin >= 0 && count >= 0 && begin <= numel && count <= numel - begin,
                  std::to_string(begin) + " + " + std::to_string(count) + " of " + std::to_string(numel) +
                      " elements of '" + tensor.name + "'");
  const uint64_t bits = bits_of(tensor.dtype);
  FUSEGRID_ASSERT(bits % 8 == 0, "'" + tensor.name + "' has elements smaller than a byte");
  return {tensor.begin + static_cast<uint64_t>(begin) * (bits / 8),
          static_cast<uint64_t>(count) * (bits / 8)};
}

uint64_t parse_header_length(std::string_view prefix, uint64_t file_bytes, const std::string& file) {
  if (prefix.size() < kLengthBytes) {
    fail(file, "it must begin with the 8 bytes of its header's length, but it has " +
                   std::to_string(file_bytes) + " bytes");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<unsigned char>(prefix[i])} << (8 * i);
  }
  if (length > kMaxHeaderBytes || length > file_bytes - kLengthBytes) {
    fail(file, "its header must have at most " + std::to_string(kMaxHeaderBytes) +
                   " bytes and lie inside the file of " + std::to_string(file_bytes) + ", but it has " +
                   std::to_string(length) + " bytes");
  }
  return length;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes,
                                           const std::string& file) {
  JsonScanner in(json, "'" + file + "' is not a valid safetensors file: ");
  SafetensorsHeader header;
  bool has_metadata = false;
  in.expect_first('{');
  for (bool more = !in.accept('}'); more; more = in.next_item('}')) {
    std::string name = in.key();
    if (name == "__metadata__") {
      if (std::exchange(has_metadata, true)) {
        in.fail("__metadata__ must occur once, but it occurs twice");
      }
      header.metadata = parse_metadata(in);
      continue;
    }
    check_name(in, name);
    if (header.tensors.size() == kMaxTensors) {
      in.fail("a file must have at most " + std::to_string(kMaxTensors) + " tensors, but it has more");
    }
    header.tensors.push_back(parse_tensor(in, std::move(name)));
  }
  in.expect_end();
  sort_by_name(header.tensors, file);
  check_tiling(header.tensors, data_bytes, file);
  return header;
}

}  // namespace fusegrid
