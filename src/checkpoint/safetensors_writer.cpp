#include "checkpoint/safetensors_writer.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// As JSON text; `value` is a string or a map of strings.
std::string json_text(const nlohmann::json& value) {
  try {
    return value.dump();
  } catch (const nlohmann::json::exception&) {
    throw ConfigError("names and metadata of a safetensors file must be UTF-8");
  }
}

// The JSON of the header and the number of bytes behind it.
std::pair<std::string, uint64_t> layout_of(std::vector<TensorInfo> tensors,
                                           const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  std::vector<std::string> members;
  if (!metadata.empty()) {
    members.push_back("\"__metadata__\":" + json_text(metadata));
  }
  uint64_t end = 0;
  for (const auto& tensor : tensors) {
    const FileDtype dtype = file_dtype(tensor.dtype, "tensor '" + tensor.name + "'");
    const uint64_t begin = end;
    end += static_cast<uint64_t>(tensor.numel()) * bits_of(dtype) / 8;
    const nlohmann::ordered_json fields = {
        {"dtype", to_string(dtype)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    members.push_back(json_text(tensor.name) + ":" + fields.dump());
  }
  std::string json = "{" + join(members, ",") + "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');  // the length before it has 8 bytes: the data begins aligned
  return {json, end};
}

at::Tensor on_cpu(const at::Tensor& tensor) {
  return tensor.detach().cpu().contiguous().resolve_conj().resolve_neg();
}

std::string length_bytes(uint64_t length) {
  std::string bytes;
  for (uint64_t i = 0; i < kLengthBytes; ++i) {
    bytes += static_cast<char>(length >> (8 * i) & 0xFFU);
  }
  return bytes;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, const std::vector<TensorInfo>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(std::move(path)), temporary_(path_) {
  const auto [json, data_bytes] = layout_of(tensors, metadata);
  try {
    // what we write must pass our own rules for reading
    header_ = parse_safetensors_header(json, data_bytes, path_.string());
  } catch (const DataError& error) {
    throw ConfigError(std::string("these tensors cannot be written: ") + error.what());
  }
  data_begin_ = kLengthBytes + json.size();
  file_.emplace(PosixFile::create(temporary_.path()));
  const std::string head = length_bytes(json.size()) + json;
  file_->write_at(0, head.data(), head.size());
}

void SafetensorsWriter::write_range(const std::string& name, int64_t begin, int64_t count,
                                    const void* source) {
  const FileTensor* const tensor = header_.find(name);
  FUSEGRID_ASSERT(tensor != nullptr, "no tensor '" + name + "' in the layout of '" + path_.string() + "'");
  const ByteRange bytes = byte_range(*tensor, begin, count);
  file_->write_at(data_begin_ + bytes.offset, source, bytes.size);
  written_bytes_ += bytes.size;
}

void SafetensorsWriter::finish() {
  const uint64_t data_bytes =
      std::accumulate(header_.tensors.begin(), header_.tensors.end(), uint64_t{0},
                      [](uint64_t sum, const FileTensor& tensor) { return sum + tensor.end - tensor.begin; });
  FUSEGRID_ASSERT(written_bytes_ == data_bytes, std::to_string(written_bytes_) + " of " +
                                                    std::to_string(data_bytes) + " bytes of '" +
                                                    path_.string() + "' were written");
  file_->sync();
  temporary_.publish();
}

std::string safetensors_head(const std::vector<TensorInfo>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  const std::string json = layout_of(tensors, metadata).first;
  return length_bytes(json.size()) + json;
}

std::string safetensors_bytes(const Weights& weights, const std::map<std::string, std::string>& metadata) {
  std::string bytes = safetensors_head(tensor_infos(weights), metadata);
  for (const auto& [name, tensor] : weights) {  // in the order of the layout
    const at::Tensor values = on_cpu(tensor);
    bytes.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  }
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const Weights& weights,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, tensor_infos(weights), metadata);
  for (const auto& [name, tensor] : weights) {
    const at::Tensor values = on_cpu(tensor);
    writer.write_range(name, 0, values.numel(), values.const_data_ptr());
  }
  writer.finish();
}

}  // namespace fusegrid
