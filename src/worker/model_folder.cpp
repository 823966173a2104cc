#include "worker/model_folder.h"

#include <map>

#include <ATen/TensorOperators.h>

#include "checkpoint/lossless_json.h"
#include "checkpoint/save_folder.h"
#include "core/errors.h"
#include "merge/layout.h"
#include "merge/merge.h"
#include "models/stored_parameters.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/folders.h"

namespace fusegrid {
namespace {

constexpr auto kIndex = "model.safetensors.index.json";

void round_to(at::ScalarType dtype, Weights& tensors) {
  for (auto& [name, tensor] : tensors) {
    if (tensor.is_floating_point()) {
      tensor = tensor.to(dtype);
    }
  }
}

// As a heads file has it.
Weights own_head_of(const std::string& task, const Readout& readout) {
  const Weights parts = readout.weights();
  if (parts.contains("rows")) {
    throw ConfigError(
        "the merge reads task '" + task +
        "' by a head of cosines of its own, for which files of heads have no place; export merges that "
        "leave the features as they are");
  }
  Weights head;
  for (const auto& [part, tensor] : parts) {
    head.emplace(task + "." + part, tensor.to(at::kCPU).contiguous());
  }
  return head;
}

void check_shapes(const Architecture& architecture, const Weights& parameters) {
  for (const TensorInfo& info : architecture.parameters()) {
    if (parameters.at(info.name).sizes().vec() != info.shape) {
      throw ConfigError(
          "a merge that keeps units of its models apart has wider layers than the config.json of the "
          "models says (" +
          info.name + "), so it cannot be written as a folder; merge all units");
    }
  }
}

}  // namespace

Weights heads_of_merge(const FusedModel& model, const Replicate& replicate,
                       const std::vector<std::string>& tasks) {
  Weights heads;
  for (const std::string& task : tasks) {
    if (const auto own = model.readouts.find(task); own != model.readouts.end()) {
      heads.merge(own_head_of(task, *own->second));
    } else if (!replicate.heads.empty()) {
      heads.merge(heads_of(replicate.heads, {task}));
    }
  }
  return heads;
}

WrittenModel write_model_folder(const std::filesystem::path& folder, const ModelToWrite& model) {
  const HfFolder base = open_checkpoint(model.base);
  nlohmann::json config = base.config();
  check_shapes(model.architecture, model.parameters);
  Weights tensors = in_place_of(base, model.architecture, to_device(model.parameters, at::kCPU));
  model.architecture.complete(config, tensors);
  round_to(model.dtype, tensors);
  set_dtype(config, model.dtype);
  const MergeLayout layout =
      output_layout(tensor_infos(tensors), std::nullopt, model.base, {.allow_symlinks = true});
  std::map<std::string, Weights> weights;
  for (const MergeShard& shard : layout.shards) {
    for (const TensorInfo& info : shard.tensors) {
      weights[shard.file].emplace(info.name, tensors.at(info.name));
    }
  }
  if (!model.heads.empty()) {
    weights.emplace(kExportHeads, model.heads);
  }
  auto files = files_beside_weights(model.base);
  files.erase("README.md");  // speaks of the base
  files["config.json"] = dump_lossless(config, 2) + "\n";
  if (!model.record.is_null()) {
    files[kExportRecord] = model.record.dump(2) + "\n";
  }
  if (layout.shards.size() > 1) {
    files[kIndex] = layout.index().dump(2) + "\n";
  }
  save_folder(folder, files, weights);
  return {static_cast<int64_t>(tensors.size()), layout.bytes(), static_cast<int64_t>(layout.shards.size())};
}

}  // namespace fusegrid
