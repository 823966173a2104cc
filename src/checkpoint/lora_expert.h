#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_changes.h"
#include "checkpoint/model_source.h"
#include "checkpoint/safetensors.h"
#include "core/weights.h"

namespace fusegrid {

class LoraConfig;

// A PEFT adapter folder (adapter_config.json, adapter_model.safetensors) on a base, read as the model that
// merge_and_unload would give, but never made whole: a range costs the reading of the base's range, of the small
// factor and of the rows of the other factor that the range touches. All const members may be called from several
// threads at once.
//
//   W' = W + scale * (B A)      A [r, in], B [out, r], W [out, in]; scale = lora_alpha / r
//
// Names are the base's, also where the adapter's have a prefix more (name_prefix.h), and so are shapes, but for rows
// of tokens that were added before the training. Trained tensors that the base lacks (a classifier's head) are
// tensors of the expert too. Where the base ties its head to the embedding and training changed one of the two alone,
// the expert has both, and its configuration says so. A tensor that the adapter changes (by A and B, or by a trained
// copy of its own: modules_to_save, biases, saved embeddings) is float32, whatever the base and the adapter are
// stored in, because the effective value need not fit the base's dtype; all others have the base's dtype. Every
// element is computed alone, in float32, k = 0 ... r - 1 in this order, so any split of a tensor into ranges gives
// the same bits. PEFT leaves the order of this sum to a matrix library and rounds to the base's dtype.
//
// Read: lora_A/lora_B of linear layers, of [in, out] layers (fan_in_fan_out) and of embeddings
// (lora_embedding_A/B), all of lora_config.h, keys with or without the adapter name `default`, adapters that
// were trained on a part of the base (a vision tower: the modules are found under a common prefix).
class LoraExpert final : public ModelSource {
 public:
  // `base` must outlive the expert. Throws ConfigError where the folder is no such adapter, asks for what is not
  // read (lora_config.h) or does not fit the base; DataError where its tensors contradict its configuration.
  LoraExpert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options = {});

  std::string name() const override { return path_.string(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return config_; }  // the base's, or untied
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  // Of the tensors that A and B alone change: neither of trained copies, nor of rows that the base lacks.
  std::optional<LowRankFactors> factors(const std::string& name) const override;
  void check_unchanged() const override;  // the adapter's file and the base's

 private:
  struct Change : LoraChange {
    std::string origin;       // the tensor of the base that changes, "" of a new one
    bool transposed = false;  // W is stored as [in, out]
    int64_t rank = 0, rows = 0, cols = 0;
    float scale = 0;
  };
  using Changes = std::map<std::string, Change>;

  Changes by_names_of_base(LoraChanges changes) const;
  void untie(const LoraConfig& config);
  bool are_one(const Change& embedding, const Change& head, const LoraConfig& config) const;
  void check_change(Change& change, TensorInfo& tensor, const LoraConfig& config) const;
  void check_copy(const Change& change, TensorInfo& tensor) const;
  void check_factors(const Change& change, TensorInfo& tensor) const;
  void read_floats(const Change& change, const std::string& name, int64_t begin, int64_t count,
                   float* destination) const;
  std::vector<float> read_factor(const std::string& key, int64_t begin, int64_t count) const;
  std::vector<float> left_factor(const Change& change, int64_t first_row, int64_t rows) const;
  std::vector<float> right_factor(const Change& change) const;
  void add_update(const Change& change, int64_t begin, int64_t count, float* values) const;

  std::filesystem::path path_;
  const ModelSource& base_;
  SafetensorsFile file_;
  nlohmann::json config_;
  std::map<std::string, at::ScalarType> dtypes_;  // of the base's tensors that are replaced or added to
  Changes changes_;                               // by name of the expert's tensor
  std::vector<TensorInfo> tensors_;
};

}  // namespace fusegrid
