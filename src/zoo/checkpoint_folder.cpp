#include "zoo/checkpoint_folder.h"

namespace fusegrid {

HfFolder open_checkpoint(const std::filesystem::path& path) {
  return HfFolder(path, {.allow_symlinks = true});
}

}  // namespace fusegrid
