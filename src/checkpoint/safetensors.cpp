#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <ATen/ops/empty.h>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr std::array<std::pair<FileDtype, at::ScalarType>, 19> kPairs{{
    {FileDtype::kBool, at::kBool},
    {FileDtype::kU8, at::kByte},
    {FileDtype::kI8, at::kChar},
    {FileDtype::kF8E5M2, at::kFloat8_e5m2},
    {FileDtype::kF8E4M3, at::kFloat8_e4m3fn},
    {FileDtype::kF8E5M2Fnuz, at::kFloat8_e5m2fnuz},
    {FileDtype::kF8E4M3Fnuz, at::kFloat8_e4m3fnuz},
    {FileDtype::kF8E8M0, at::kFloat8_e8m0fnu},
    {FileDtype::kI16, at::kShort},
    {FileDtype::kU16, at::kUInt16},
    {FileDtype::kF16, at::kHalf},
    {FileDtype::kBF16, at::kBFloat16},
    {FileDtype::kI32, at::kInt},
    {FileDtype::kU32, at::kUInt32},
    {FileDtype::kF32, at::kFloat},
    {FileDtype::kI64, at::kLong},
    {FileDtype::kU64, at::kUInt64},
    {FileDtype::kF64, at::kDouble},
    {FileDtype::kC64, at::kComplexFloat},
}};

}  // namespace

at::ScalarType scalar_type(FileDtype dtype, const std::string& what) {
  for (const auto& [file, torch] : kPairs) {
    if (file == dtype) {
      return torch;
    }
  }
  throw DataError(
      what + " has the dtype " + std::string(to_string(dtype)) +
      ", of parts of quantised weights, which LibTorch lacks; dequantise it to another dtype first");
}

FileDtype file_dtype(at::ScalarType dtype, const std::string& what) {
  for (const auto& [file, torch] : kPairs) {
    if (torch == dtype) {
      return file;
    }
  }
  throw ConfigError(what + " has the dtype " + at::toString(dtype) +
                    ", which safetensors lacks; convert it to another dtype first");
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : SafetensorsFile(PosixFile::open(path)) {}

SafetensorsFile::SafetensorsFile(PosixFile file) : file_(std::move(file)) {
  std::string bytes(std::min(kLengthBytes, file_.size()), '\0');
  file_.read_at(0, bytes.data(), bytes.size());
  bytes.resize(parse_header_length(bytes, file_.size(), path().string()));
  file_.read_at(kLengthBytes, bytes.data(), bytes.size());
  data_begin_ = kLengthBytes + bytes.size();
  header_ = parse_safetensors_header(bytes, file_.size() - data_begin_, path().string());
}

const FileTensor& SafetensorsFile::find(const std::string& name) const {
  const FileTensor* const tensor = header_.find(name);
  if (tensor == nullptr) {
    throw DataError("'" + path().string() + "' has no tensor " + printable(name) + "; it has " +
                    std::to_string(tensors().size()) + " others");
  }
  return *tensor;
}

TensorInfo SafetensorsFile::info(const std::string& name) const {
  const FileTensor& tensor = find(name);
  return {name, tensor.shape,
          scalar_type(tensor.dtype, "tensor " + printable(name) + " of '" + path().string() + "'")};
}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const TensorInfo tensor = info(name);
  at::Tensor values = at::empty(tensor.shape, tensor.dtype);
  read_range(name, 0, tensor.numel(), values.mutable_data_ptr());
  check_unchanged();
  return values;
}

void SafetensorsFile::read_range(const std::string& name, int64_t begin, int64_t count,
                                 void* destination) const {
  const TensorInfo checked = info(name);  // refuses dtypes that are no whole bytes
  const ByteRange bytes = byte_range(find(checked.name), begin, count);
  file_.read_at(data_begin_ + bytes.offset, destination, bytes.size);
}

}  // namespace fusegrid
