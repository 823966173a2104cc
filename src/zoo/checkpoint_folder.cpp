#include "zoo/checkpoint_folder.h"

#include "checkpoint/model_spec.h"

namespace fusegrid {
namespace {

constexpr HfFolderOptions kReading{.allow_symlinks = true};

}  // namespace

HfFolder open_checkpoint(const std::filesystem::path& path) {
  return HfFolder(path, kReading);
}

ModelFolder::ModelFolder(const std::filesystem::path& base, const std::filesystem::path& path)
    : base_(std::make_unique<HfFolder>(base, kReading)), model_(open_folder(path, base_.get(), kReading)) {}

}  // namespace fusegrid
