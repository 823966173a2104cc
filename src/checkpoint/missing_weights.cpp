#include "checkpoint/missing_weights.h"

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "checkpoint/folder_files.h"
#include "checkpoint/json_scanner.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr auto kRule =
    "a checkpoint folder must hold model.safetensors or model.safetensors.index.json with its shards (or "
    "diffusion_pytorch_model.safetensors likewise)";
constexpr size_t kMostShown = 3;

// "model.fp16.safetensors" -> "fp16": what diffusers and transformers call a variant.
std::string variant_of(const std::string& file) {
  static const std::regex variant(R"((model|diffusion_pytorch_model)\.([A-Za-z0-9_]+)\.safetensors)");
  std::smatch parts;
  return std::regex_match(file, parts, variant) ? parts[2].str() : "";
}

std::string quoted(std::vector<std::string> names) {
  std::transform(names.begin(), names.end(), names.begin(),
                 [](const std::string& name) { return printable(name); });
  return some_names(names, kMostShown);
}

}  // namespace

void fail_without_weights(const std::filesystem::path& folder) {
  std::vector<std::string> shards, safetensors, pickles, others;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (folder_entry(name) != FolderEntry::kWeights) {
      continue;
    }
    auto& kind = is_shard(name)                   ? shards
                 : name.ends_with(".safetensors") ? safetensors
                 : is_pickle(name)                ? pickles
                                                  : others;
    kind.push_back(name);
  }
  for (auto* names : {&shards, &safetensors, &pickles, &others}) {
    std::sort(names->begin(), names->end());
  }
  const std::string where = "'" + folder.string() + "'";
  if (!shards.empty()) {
    throw ConfigError(
        std::string(kRule) + ", but " + where + " holds the shards " + quoted(shards) +
        " without their index; fetch model.safetensors.index.json from where they come, or save the "
        "model again with transformers' model.save_pretrained(folder)");
  }
  if (!safetensors.empty() && !variant_of(safetensors.front()).empty()) {
    const std::string& file = safetensors.front();
    const std::string variant = variant_of(file);
    std::string plain = file;
    plain.erase(plain.find("." + variant), variant.size() + 1);
    throw ConfigError(std::string(kRule) + ", but " + where + " holds the variant " + quoted({file}) +
                      " alone; rename it to " + plain + ", and load the result without variant='" + variant +
                      "'");
  }
  if (!safetensors.empty()) {
    const bool adapter =
        std::find(safetensors.begin(), safetensors.end(), "adapter_model.safetensors") != safetensors.end();
    throw ConfigError(
        std::string(kRule) + ", but " + where + " holds " + quoted(safetensors) +
        (adapter ? " without adapter_config.json; fetch that from where the adapter comes"
                 : ", which is not read under that name; rename it if its tensors have the names of "
                   "transformers, else convert it"));
  }
  if (!pickles.empty()) {
    throw ConfigError(
        "'" + (folder / pickles.front()).string() +
        "' is a pickle file, which can run code when it is loaded and is never read; convert it with "
        "transformers' model.save_pretrained(folder, safe_serialization=True)");
  }
  throw ConfigError(
      std::string(kRule) + ", but " + where + " holds " +
      (others.empty() ? "neither" : quoted(others) + ", which is not read; convert it to safetensors"));
}

}  // namespace fusegrid
