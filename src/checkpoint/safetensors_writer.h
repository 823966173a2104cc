#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/safetensors_header.h"
#include "core/files.h"
#include "core/posix_file.h"
#include "core/weights.h"

namespace fusegrid {

// Writes a .safetensors file piece by piece. The layout is fixed by the tensors' names, shapes and dtypes (in
// order of name, header padded to a multiple of 8 bytes), so the bytes of the file do not depend on the order
// or the size of the pieces. The file appears under its name only with finish(); until then, and for good
// where finish() is never reached, there is a temporary file beside it, which goes with the writer.
class SafetensorsWriter {
 public:
  // Throws ConfigError where a name or dtype is not writable, IoError where the file cannot be created.
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorInfo>& tensors,
                    const std::map<std::string, std::string>& metadata = {});

  // Writes the elements [begin, begin + count) of a tensor, counted in C order; several threads may write
  // different ranges at once. Throws IoError (disk full, ...).
  void write_range(const std::string& name, int64_t begin, int64_t count, const void* source);
  // Syncs, renames and syncs the folder. Every element must have been written. Throws IoError.
  void finish();

 private:
  std::filesystem::path path_;
  TemporaryPath temporary_;
  SafetensorsHeader header_;
  std::optional<PosixFile> file_;
  uint64_t data_begin_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
};

// The first bytes of such a file: length and JSON of the header. The tensors' bytes follow in the order of
// parse_safetensors_header(). Throws as the writer.
std::string safetensors_head(const std::vector<TensorInfo>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

// The bytes of a whole such file, for small ones.
std::string safetensors_bytes(const Weights& weights,
                              const std::map<std::string, std::string>& metadata = {});

// Writes all of `weights` (any device, any strides) to `path`: the same weights and metadata, the same bytes.
// Throws as the writer; a file that was at `path` stays as it was where writing fails.
void write_safetensors(const std::filesystem::path& path, const Weights& weights,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace fusegrid
