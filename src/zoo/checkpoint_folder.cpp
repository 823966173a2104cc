#include "zoo/checkpoint_folder.h"

#include "checkpoint/checks.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// What the parameter is called in the file: the first of its possible names.
std::string name_in(const HfFolder& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (folder.contains(name)) {
      return name;
    }
  }
  throw ConfigError("'" + folder.path().string() + "': tensor " + names.front() +
                    " is missing; a checkpoint must have all parameters of the architecture");
}

}  // namespace

HfFolder open_checkpoint(const std::filesystem::path& path) {
  return HfFolder(path, {.allow_symlinks = true});
}

void check_parameter(const HfFolder& folder, const TensorInfo& wanted,
                     const std::vector<std::string>& names) {
  const TensorInfo& seen = folder.info(name_in(folder, names));
  const std::string what = "'" + folder.path().string() + "': tensor " + seen.name;
  if (seen.shape != wanted.shape || !seen.floating()) {
    throw ConfigError(what + " must be floating-point of shape " + shape_text(wanted.shape) + ", but it is " +
                      at::toString(seen.dtype) + " " + shape_text(seen.shape) +
                      "; experts must have the architecture of their base");
  }
}

at::Tensor read_parameter(const HfFolder& folder, const TensorInfo& wanted,
                          const std::vector<std::string>& names) {
  check_parameter(folder, wanted, names);
  return folder.read(name_in(folder, names)).to(at::kFloat);
}

}  // namespace fusegrid
