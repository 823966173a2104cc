#include "checkpoint/adapter_files.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "checkpoint/lora_folder.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxAdapterConfigBytes = uint64_t{16} << 20;
constexpr int64_t kReadBlock = 65'536;  // elements that are converted at a time

}  // namespace

nlohmann::json read_adapter_config(const ContainedFolder& folder) {
  return folder.read_json(kAdapterConfig, kMaxAdapterConfigBytes);
}

PosixFile open_adapter_weights(const ContainedFolder& folder) {
  if (!folder.contains(kAdapterWeights) && folder.contains("adapter_model.bin")) {
    throw ConfigError(
        "'" + (folder.path() / "adapter_model.bin").string() +
        "' is a pickle file, which can run code when it is loaded and is never read; convert it with "
        "PEFT's model.save_pretrained(folder, safe_serialization=True)");
  }
  return folder.open(kAdapterWeights);
}

bool is_switched_off(const nlohmann::json& value) {
  return value.is_null() || value == false || ((value.is_structured() || value.is_string()) && value.empty());
}

void read_as_floats(const std::function<void(int64_t first, int64_t n, void* to)>& read, at::ScalarType dtype,
                    int64_t begin, int64_t count, float* destination) {
  at::Tensor stored = at::empty({std::min(count, kReadBlock)}, dtype);
  for (int64_t done = 0; done < count; done += kReadBlock) {
    const int64_t n = std::min(kReadBlock, count - done);
    read(begin + done, n, stored.mutable_data_ptr());
    at::from_blob(destination + done, {n}, at::kFloat).copy_(stored.narrow(0, 0, n));
  }
}

}  // namespace fusegrid
