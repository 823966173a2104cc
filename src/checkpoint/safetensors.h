#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "checkpoint/safetensors_header.h"
#include "core/posix_file.h"
#include "core/weights.h"

namespace fusegrid {

// One .safetensors file, open for reading. Its tensors are listed without being read. All const members may
// be called from several threads at once.
class SafetensorsFile {
 public:
  // Reads and validates the header (rules: safetensors_header.h). Throws DataError where it is not valid,
  // IoError where the file cannot be read.
  explicit SafetensorsFile(const std::filesystem::path& path);
  explicit SafetensorsFile(PosixFile file);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<FileTensor>& tensors() const { return header_.tensors; }  // sorted by name
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  bool contains(const std::string& name) const { return header_.find(name) != nullptr; }

  // Throw DataError where the file has no tensor `name` or LibTorch lacks its dtype.
  TensorInfo info(const std::string& name) const;
  // The tensor on the CPU, in the dtype of the file. Also throws what check_unchanged() throws.
  at::Tensor read(const std::string& name) const;
  // Copies the elements [begin, begin + count), counted in C order, to `destination` (count * element size
  // bytes). When all ranges are read, call check_unchanged() once. Throws IoError, or DataError where the
  // file has become shorter.
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const;
  // Throws DataError where the file has changed since it was opened.
  void check_unchanged() const { file_.check_unchanged(); }

 private:
  const FileTensor& find(const std::string& name) const;

  PosixFile file_;
  SafetensorsHeader header_;
  uint64_t data_begin_ = 0;  // offset of the first tensor in the file
};

// LibTorch's dtype; throws DataError, naming `what`, where LibTorch has none (F4, F6_*).
at::ScalarType scalar_type(FileDtype dtype, const std::string& what);
// The format's dtype; throws ConfigError, naming `what`, where the format has none.
FileDtype file_dtype(at::ScalarType dtype, const std::string& what);

}  // namespace fusegrid
