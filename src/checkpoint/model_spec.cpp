#include "checkpoint/model_spec.h"

#include "checkpoint/adapter_files.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/ia3_expert.h"
#include "checkpoint/layer_stack.h"
#include "checkpoint/lora_expert.h"
#include "checkpoint/lora_file_expert.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/mixture.h"
#include "checkpoint/weight_files.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

class FolderSpec final : public ModelSpec {
 public:
  explicit FolderSpec(std::filesystem::path path) : path_(std::move(path)) {}

  std::vector<std::filesystem::path> folders() const override { return {path_}; }
  bool is_folder() const override { return true; }
  std::string default_name() const override { return (path_ / "").parent_path().filename().string(); }
  std::string identity() const override { return std::filesystem::canonical(path_).string(); }
  std::unique_ptr<ModelSource> open(const ModelSource* base, HfFolderOptions options) const override {
    return open_folder(path_, base, options);
  }
  nlohmann::json config(HfFolderOptions options) const override { return HfFolder(path_, options).config(); }

 private:
  std::filesystem::path path_;
};

}  // namespace

std::unique_ptr<ModelSource> open_folder(const std::filesystem::path& path, const ModelSource* base,
                                         HfFolderOptions options) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  if (!folder.contains(kAdapterConfig)) {
    const auto lora = base == nullptr ? std::nullopt : lora_file_at(path, options);
    if (lora) {
      return std::make_unique<LoraFileExpert>(*lora, std::nullopt, *base);
    }
    return std::make_unique<HfFolder>(path, options);
  }
  const WeightFiles weights = weight_files_of(folder);
  if (folder.contains(weights.single()) || folder.contains(weights.index())) {
    throw ConfigError("a model folder must hold either a checkpoint or an adapter, but '" + path.string() +
                      "' holds both; move one away");
  }
  if (base == nullptr) {
    throw ConfigError(
        "a base, and each part of a model that is made of several, must be a whole checkpoint, but '" +
        path.string() +
        "' is an adapter; give the checkpoint that it was trained on, or merge "
        "it into that (--method passthrough --base BASE --expert ADAPTER)");
  }
  const nlohmann::json config = read_adapter_config(folder);
  if (config.is_object() && config.value("peft_type", nlohmann::json()) == "IA3") {
    return std::make_unique<Ia3Expert>(path, *base, options);
  }
  return std::make_unique<LoraExpert>(path, *base, options);
}

std::unique_ptr<ModelSpec> parse_model(const std::string& text) {
  if (auto file = parse_lora_file(text)) {
    return file;
  }
  if (!std::filesystem::exists(text)) {
    if (auto mixture = parse_mixture(text)) {
      return mixture;
    }
    if (auto stack = parse_layer_stack(text)) {
      return stack;
    }
  }
  return std::make_unique<FolderSpec>(text);
}

std::unique_ptr<ModelSource> open_model(const std::filesystem::path& text, const ModelSource* base,
                                        HfFolderOptions options) {
  return parse_model(text.string())->open(base, options);
}

}  // namespace fusegrid
