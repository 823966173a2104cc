#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/constant_model.h"
#include "checkpoint/ia3_file.h"
#include "checkpoint/lora_expert.h"
#include "merge/spec.h"

namespace fusegrid::adapters {

// Adapters of one base to be merged as adapters: models that have nothing but what the adapters change, so that no
// weight of the base is read.
struct AdapterInputs {
  enum class Kind { kLora, kIa3 };
  Kind kind = Kind::kLora;
  std::vector<MergeExpert> adapters;
  std::vector<nlohmann::json> configs;  // adapter_config.json of each
  std::vector<std::string> notes;       // what a user should hear though the merge goes on
  int64_t largest_rank = 0;             // of LoRA
  bool same_modules = true;             // all adapters change the same ones

  // Of what any of the adapters changes: the names are those of the adapters' files without "base_model.model.".
  //   LoRA     the weights of modules, [out, in], or [in, out] with fan_in_fan_out; 0. Experts: the updates, scale *
  //            B A, with their factors; zero where an adapter leaves a module alone
  //   (IA)^3   "<module>.ia3_l", [out, 1] or [1, in]; 1, as training begins. Experts: the vectors
  std::unique_ptr<ConstantModel> base;
  std::vector<std::unique_ptr<ModelSource>> experts;
  std::set<std::string> embeddings;  // of the tensors of LoRA
  bool fan_in_fan_out = false;       // LoRA

  bool is_turned(const std::string& tensor) const { return fan_in_fan_out || embeddings.contains(tensor); }
};

struct AdapterReading {
  HfFolderOptions files;
  bool drop_saved = false;  // leave out tensors that adapters hold whole
  // The base, where it is to be checked that the adapters fit: their headers are compared, no weight is read.
  std::optional<std::filesystem::path> base;
};

// Opens the folders. Throws ConfigError where a folder is no adapter, its peft_type is not read or not that of the
// others, two adapters change one module in other shapes or share no module, one holds tensors whole; as LoraExpert and
// Ia3File.
AdapterInputs open_adapters(const std::vector<MergeExpert>& adapters, const AdapterReading& reading);

}  // namespace fusegrid::adapters
