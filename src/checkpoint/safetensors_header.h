// The header of a safetensors file: a little-endian u64 N, then N bytes of JSON, then the bytes of the
// tensors. Knows neither files nor LibTorch, so that it can be fuzzed on its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrid {

// Every dtype of the format; LibTorch lacks some (safetensors.h).
enum class FileDtype : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E5M2Fnuz,
  kF8E4M3Fnuz,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64,
  kC64,
};
std::string_view to_string(FileDtype dtype);  // as written in files: "F8_E4M3"
uint64_t bits_of(FileDtype dtype);            // of one element: 4, 6, 8, 16, 32 or 64

// One tensor of a file. Its bytes are [begin, end) of the data that follows the header; elements are in C
// order, little-endian.
struct FileTensor {
  std::string name;
  FileDtype dtype = FileDtype::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;

  int64_t numel() const;
};

struct SafetensorsHeader {
  std::vector<FileTensor> tensors;  // sorted by name
  std::map<std::string, std::string> metadata;

  const FileTensor* find(const std::string& name) const;  // nullptr where there is none
};

// Bytes [offset, offset + size) of the data.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};
// Where the elements [begin, begin + count) of a tensor of whole-byte elements are. Aborts where it has no
// such elements: the caller's bug.
ByteRange byte_range(const FileTensor& tensor, int64_t begin, int64_t count);

inline constexpr uint64_t kLengthBytes = 8;
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
inline constexpr size_t kMaxTensors = 1'000'000;
inline constexpr size_t kMaxNameBytes = 1024;
inline constexpr size_t kMaxDimensions = 64;

// Reads N from the first 8 bytes (`prefix`; fewer where the file is shorter) of a file of `file_bytes` bytes.
// Throws DataError where N is no possible length of its header.
uint64_t parse_header_length(std::string_view prefix, uint64_t file_bytes, const std::string& file);

// Reads and validates the JSON of a header that is followed by `data_bytes` bytes.
//
// Accepts what the reference implementation accepts (JSON in UTF-8; dtype, shape and data_offsets of each
// tensor; tensors sorted by offset tile the data: no hole, no overlap, nothing behind) except for what the
// format's text forbids or an attacker could use to make two readers disagree:
//   * a name, a field or a metadata key that occurs twice; a field that the format does not know
//   * white space before the first '{'
//   * more than kMaxTensors tensors; more than kMaxDimensions dimensions; names longer than kMaxNameBytes or
//     with control characters; sizes whose product (zeros left out) exceeds int64
// Takes memory in proportion to the header and constant stack, whatever the bytes are.
//
// Throws DataError, which names `file`, the rule and the value seen.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes,
                                           const std::string& file);

}  // namespace fusegrid
