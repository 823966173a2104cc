#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_file.h"
#include "checkpoint/model_source.h"
#include "checkpoint/model_spec.h"
#include "checkpoint/safetensors.h"

namespace fusegrid {

// A file of LoRA factors on one component of a pipeline of diffusers, read as the component with the update in its
// weights, but never made whole:
//
//   W' = W + scale * (up down)     W [out, ...], down [r, ...], up [out, r]; scale = alpha / r
//
// Convolutions are matrices here, [out, in k k], with rows one behind the other. The scale is that of PEFT's
// configuration in the file's metadata where there is one, else the file's alpha / r, else 1. A changed tensor is
// float32, all others are the base's. Elements are computed as LoraExpert's are, so any split of a tensor into ranges
// gives the same bits. All const members may be called from several threads at once.
//
// A module of the file is that module of the base whose name, with dots or with underscores in their place as kohya
// writes them, is the file's; where all of them have "text_model." more or less than the base's, that is passed over.
// Names are looked up among the base's and never taken apart.
class LoraFileExpert final : public ModelSource {
 public:
  // component: which of the file's; a file that says nothing of it leaves the base as it is. Without one, the file must
  // be of one component. `base` must outlive the expert. Throws as lora_file_parts(); ConfigError where a module is
  // none of the base's, is several of them, or its factors do not have the shapes of the base's weights.
  LoraFileExpert(const std::filesystem::path& file, const std::optional<std::string>& component,
                 const ModelSource& base);

  std::string name() const override { return file_.path().string(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return base_.config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  // Of matrices; convolutions have none.
  std::optional<LowRankFactors> factors(const std::string& name) const override;
  void check_unchanged() const override;  // the file and the base's

 private:
  struct Update {
    std::string down, up;
    int64_t rank = 0, rows = 0, cols = 0;
    float scale = 1;
    at::ScalarType base_dtype = at::kFloat;
  };

  LoraFilePart part_of(const std::optional<std::string>& component) const;
  void add(const std::string& tensor, const std::string& module, const LoraFactorKeys& keys,
           const std::optional<LoraConfig>& config);
  double scale_of(const std::string& module, const LoraFactorKeys& keys, int64_t rank,
                  const std::optional<LoraConfig>& config) const;

  SafetensorsFile file_;
  const ModelSource& base_;
  std::map<std::string, Update> updates_;  // by the base's tensor
  std::vector<TensorInfo> tensors_;
};

// The file of LoRA factors that is meant where `path` is one, or a folder with a single .safetensors file that is no
// checkpoint, no pipeline and no adapter folder.
std::optional<std::filesystem::path> lora_file_at(const std::filesystem::path& path, HfFolderOptions options);

// "FILE.safetensors" or "FILE.safetensors[COMPONENT]"; null where `text` is neither.
std::unique_ptr<ModelSpec> parse_lora_file(const std::string& text);

}  // namespace fusegrid
