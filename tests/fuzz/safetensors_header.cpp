// Whatever is accepted must tile the data.
#include "checkpoint/safetensors_header.h"

#include "checkpoint/corpus.h"
#include "core/errors.h"
#include "fuzz/target.h"

namespace fusegrid::fuzz::safetensors_header {
namespace {

void read(std::string_view file) {
  const uint64_t length = parse_header_length(file.substr(0, kLengthBytes), file.size(), "fuzz");
  const uint64_t data_bytes = file.size() - kLengthBytes - length;
  uint64_t covered = 0;
  for (const auto& tensor :
       parse_safetensors_header(file.substr(kLengthBytes, length), data_bytes, "fuzz").tensors) {
    FUSEGRID_ASSERT(tensor.begin <= tensor.end && tensor.end <= data_bytes, tensor.name);
    covered += tensor.end - tensor.begin;
  }
  FUSEGRID_ASSERT(covered == data_bytes, "the tensors do not tile the data");
}

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (const CorpusFile& file : corpus()) {
    if (file.bytes.size() < 4096) {
      all.push_back(file.bytes);
    }
  }
  return all;
}

const RegisterTarget registered{"safetensors_header",
                                {read,
                                 seeds,
                                 {"\"dtype\":", "\"shape\":[", "\"data_offsets\":[", "\"__metadata__\":{",
                                  "F32", "BF16", "F8_E4M3", "I64", "BOOL"}}};

}  // namespace
}  // namespace fusegrid::fuzz::safetensors_header
