#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Bytes of a file as a tensor without a copy: uint8 [shape...] from `offset` on, read from the disk as they are looked
// at. Read only: to write to it ends the process. It keeps the file mapped as long as a view of it lives; the file must
// not become shorter meanwhile. IoError where the file cannot be mapped, DataError where it ends before the bytes do.
at::Tensor mapped_bytes(const std::filesystem::path& path, uint64_t offset,
                        const std::vector<int64_t>& shape);

}  // namespace fusegrid
