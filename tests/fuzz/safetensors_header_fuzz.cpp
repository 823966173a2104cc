// libFuzzer target: bytes of a whole file; whatever is accepted must tile the data.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "checkpoint/safetensors_header.h"
#include "core/errors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrid;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const uint64_t length = parse_header_length(file.substr(0, kLengthBytes), size, "fuzz");
    const uint64_t data_bytes = size - kLengthBytes - length;
    uint64_t covered = 0;
    for (const auto& tensor :
         parse_safetensors_header(file.substr(kLengthBytes, length), data_bytes, "fuzz").tensors) {
      FUSEGRID_ASSERT(tensor.begin <= tensor.end && tensor.end <= data_bytes, tensor.name);
      covered += tensor.end - tensor.begin;
    }
    FUSEGRID_ASSERT(covered == data_bytes, "the tensors do not tile the data");
  } catch (const DataError&) {
    // the expected end of most inputs
  }
  return 0;
}
