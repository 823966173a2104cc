#include "checkpoint/weight_files.h"

#include <cstdint>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {

std::string WeightFiles::shard(size_t number, size_t total) const {
  char numbers[48];
  std::snprintf(numbers, sizeof numbers, "-%05zu-of-%05zu.safetensors", number, total);
  return stem + numbers;
}

WeightFiles weight_files_of(const ContainedFolder& folder) {
  const WeightFiles of_transformers;
  const WeightFiles of_diffusers{"diffusion_pytorch_model"};
  const auto holds = [&](const WeightFiles& files) {
    return folder.contains(files.single()) || folder.contains(files.index());
  };
  if (!holds(of_diffusers)) {
    return of_transformers;
  }
  if (holds(of_transformers)) {
    throw ConfigError("a checkpoint folder must hold one model, but '" + folder.path().string() +
                      "' holds weights called '" + of_transformers.stem + "' and '" + of_diffusers.stem +
                      "'; move those that are not meant away");
  }
  return of_diffusers;
}

std::set<std::string> weight_file_names(const ContainedFolder& folder) {
  constexpr uint64_t kMaxBytes = uint64_t{64} << 20;
  const WeightFiles files = weight_files_of(folder);
  if (!folder.contains(files.index())) {
    return {files.single()};
  }
  std::set<std::string> names{files.index()};
  const nlohmann::json index = folder.read_json(files.index(), kMaxBytes);
  const nlohmann::json places =
      index.is_object() ? index.value("weight_map", nlohmann::json()) : nlohmann::json();
  for (const auto& [tensor, file] : places.items()) {
    if (!file.is_string()) {
      throw DataError("'" + (folder.path() / files.index()).string() +
                      "': weight_map must name files of the folder, but for " + printable(tensor) +
                      " it has " + printable(file.dump(-1, ' ', true)));
    }
    names.insert(file.get<std::string>());
  }
  return names;
}

}  // namespace fusegrid
