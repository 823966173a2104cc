#include "cli/adapter_folder.h"

#include <cstring>

#include <ATen/TensorOperators.h>

#include "checkpoint/lora_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/save_folder.h"
#include "core/errors.h"
#include "core/text.h"
#include "merge/adapter/adapter_merge.h"
#include "merge/outputs.h"
#include "models/stored_parameters.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {
namespace {

// Weights in memory, in float32, read as a model.
class WeightsInMemory final : public ModelSource {
 public:
  WeightsInMemory(std::string name, nlohmann::json config, const Weights& weights)
      : name_(std::move(name)), config_(std::move(config)) {
    for (const auto& [tensor, values] : weights) {
      weights_.emplace(tensor, (values.is_floating_point() ? values.to(at::kFloat) : values).contiguous());
    }
    tensors_ = tensor_infos(weights_);
  }
  std::string name() const override { return name_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return config_; }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const at::Tensor& values = weights_.at(name);
    const auto size = static_cast<int64_t>(values.element_size());
    std::memcpy(destination, static_cast<const char*>(values.const_data_ptr()) + begin * size,
                static_cast<size_t>(count * size));
  }
  void check_unchanged() const override {}

 private:
  std::string name_;
  nlohmann::json config_;
  Weights weights_;
  std::vector<TensorInfo> tensors_;
};

std::map<std::string, std::string> files_with_record(const ModelToWrite& model,
                                                     const nlohmann::json& record) {
  std::map<std::string, std::string> files{{kExportRecord, record.dump(2) + "\n"}};
  if (!model.heads.empty()) {
    files.emplace(kExportHeads, safetensors_bytes(model.heads, {{"format", "pt"}}));
  }
  return files;
}

}  // namespace

AdapterChoice adapter_choice(const std::string& text) {
  if (text == "own") {
    return {};
  }
  try {
    if (const int64_t rank = parse_int(text, "--adapter"); rank > 0) {
      return {rank};
    }
  } catch (const ConfigError&) {
  }
  throw UsageError("--adapter takes a rank of at least 1, or own (an expert's own adapter), but it is '" +
                   text + "'");
}

WrittenAdapter write_cut_adapter(const std::filesystem::path& folder, const ModelToWrite& model, int64_t rank,
                                 int threads) {
  const HfFolder base = open_checkpoint(model.base);
  const Weights merged = in_place_of(base, model.architecture, to_device(model.parameters, at::kCPU));
  Weights before;
  for (const auto& [name, tensor] : merged) {
    before.emplace(name, base.read(name));
  }
  adapters::ExtractionOptions options{.rule = {.rank = rank, .energy = {}}, .alpha = {}, .modules = {}};
  options.rest = adapters::Rest::kSave;
  options.threads = threads;
  const auto extraction =
      adapters::extract_adapter(WeightsInMemory(base.name(), base.config(), before),
                                WeightsInMemory("the merge", base.config(), merged), options);
  nlohmann::json record = model.record;
  record["adapter"] = {{"rank", rank},
                       {"relative_error", extraction.relative_error()},
                       {"modules", adapters::record_of(extraction.modules)}};
  save_lora_folder(folder, extraction.adapter,
                   std::filesystem::absolute(model.base).lexically_normal().string(),
                   files_with_record(model, record));
  return {static_cast<int64_t>(extraction.adapter.factors.size()), extraction.relative_error()};
}

void write_own_adapter(const std::filesystem::path& folder, const std::filesystem::path& adapter,
                       const ModelToWrite& model) {
  auto files = files_with_record(model, model.record);
  for (const std::string name : {kAdapterConfig, kAdapterWeights}) {
    files.emplace(name, read_whole(adapter / name));
  }
  save_folder(folder, files, {});
}

}  // namespace fusegrid
