#include "checkpoint/ia3_file.h"

#include "checkpoint/adapter_files.h"
#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/lora_keys.h"
#include "core/errors.h"

namespace fusegrid {

Ia3File::Ia3File(const std::filesystem::path& path, HfFolderOptions options)
    : file_(open_adapter_weights(ContainedFolder(path, options.allow_symlinks, options.follow_links))),
      config_(read_adapter_config(ContainedFolder(path, options.allow_symlinks, options.follow_links)),
              (path / kAdapterConfig).string()) {
  const std::string where = "'" + file_.path().string() + "'";
  for (const auto& tensor : file_.tensors()) {
    const std::string key = without_adapter_root(tensor.name, file_.path().string());
    const auto module = module_before(key, kIa3Vector, "");
    if (!module) {
      if (key.find(".ia3_") != std::string::npos) {
        throw ConfigError(where + ": " + printable(tensor.name) +
                          " is of an adapter with another name than default, which is not read; save that "
                          "adapter alone");
      }
      if (key.find(".original_module.") == std::string::npos) {
        copies_.insert_or_assign(copied_tensor(key), tensor.name);
      }
      continue;
    }
    const TensorInfo info = file_.info(tensor.name);
    const bool of_inputs = config_.is_feedforward(*module);
    const int64_t length = info.numel();
    const std::vector<int64_t> wanted =
        of_inputs ? std::vector<int64_t>{1, length} : std::vector<int64_t>{length, 1};
    if (!info.floating() || info.shape != wanted) {
      throw DataError(where + ": the vector of " + printable(*module) + " must be " +
                      (of_inputs ? "[1, in], since feedforward_modules names the module"
                                 : "[out, 1], since feedforward_modules does not name the module") +
                      ", but it is " + shape_text(info.shape) +
                      "; vectors of convolutions are not read: merge such an adapter with PEFT's "
                      "merge_and_unload and give the result");
    }
    if (!vectors_.emplace(*module, Vector{tensor.name, length, of_inputs}).second) {
      throw DataError(where + " must hold each vector once, but there are two of " + printable(*module));
    }
  }
  if (vectors_.empty()) {
    throw DataError(where + " must hold the vectors of an (IA)^3 adapter, but it holds none");
  }
}

std::vector<float> Ia3File::read(const Vector& vector) const {
  std::vector<float> values(static_cast<size_t>(vector.length));
  const auto read = [&](int64_t first, int64_t n, void* to) { file_.read_range(vector.key, first, n, to); };
  read_as_floats(read, file_.info(vector.key).dtype, 0, vector.length, values.data());
  return values;
}

}  // namespace fusegrid
