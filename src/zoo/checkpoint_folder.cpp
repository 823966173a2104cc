#include "zoo/checkpoint_folder.h"

#include "checkpoint/lora_folder.h"
#include "checkpoint/model_spec.h"

namespace fusegrid {
namespace {

constexpr HfFolderOptions kReading{.allow_symlinks = true};

}  // namespace

HfFolder open_checkpoint(const std::filesystem::path& path) {
  return HfFolder(path, kReading);
}

bool is_adapter(const std::filesystem::path& path) {
  return std::filesystem::exists(path / kAdapterConfig);
}

// The base is opened for adapters alone: a checkpoint can be read without it.
ModelFolder::ModelFolder(const std::filesystem::path& base, const std::filesystem::path& path)
    : base_(is_adapter(path) ? std::make_unique<HfFolder>(base, kReading) : nullptr),
      model_(open_folder(path, base_.get(), kReading)) {}

}  // namespace fusegrid
