#include "merge/layout.h"

#include <algorithm>
#include <map>

#include "checkpoint/contained_folder.h"
#include "checkpoint/weight_files.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;

MergeLayout by_size(const std::vector<TensorInfo>& tensors, int64_t most, const WeightFiles& names) {
  MergeLayout layout;
  layout.index_file = names.index();
  for (const TensorInfo& info : tensors) {
    if (layout.shards.empty() || layout.shards.back().bytes() + tensor_bytes(info) > most) {
      layout.shards.emplace_back();
    }
    layout.shards.back().tensors.push_back(info);
  }
  const size_t total = layout.shards.size();
  for (size_t i = 0; i < total; ++i) {
    layout.shards[i].file = total == 1 ? names.single() : names.shard(i + 1, total);
  }
  return layout;
}

std::string last_file(const nlohmann::json& places) {
  std::string last;
  for (const auto& [tensor, file] : places.items()) {
    last = std::max(last, file.get<std::string>());
  }
  return last;
}

}  // namespace

int64_t tensor_bytes(const TensorInfo& info) {
  return info.numel() * static_cast<int64_t>(c10::elementSize(info.dtype));
}

int64_t MergeShard::bytes() const {
  int64_t sum = 0;
  for (const TensorInfo& info : tensors) {
    sum += tensor_bytes(info);
  }
  return sum;
}

int64_t MergeLayout::bytes() const {
  int64_t sum = 0;
  for (const MergeShard& shard : shards) {
    sum += shard.bytes();
  }
  return sum;
}

nlohmann::json MergeLayout::index() const {
  nlohmann::json map = nlohmann::json::object();
  for (const MergeShard& shard : shards) {
    for (const TensorInfo& info : shard.tensors) {
      map[info.name] = shard.file;
    }
  }
  return {{"metadata", {{"total_size", bytes()}}}, {"weight_map", map}};
}

MergeLayout output_layout(const std::vector<TensorInfo>& tensors, std::optional<int64_t> shard_bytes,
                          const std::filesystem::path& reference_folder, HfFolderOptions options) {
  const ContainedFolder folder(reference_folder, options.allow_symlinks, options.follow_links);
  const WeightFiles names = weight_files_of(folder);
  if (shard_bytes || !folder.contains(names.index())) {
    return by_size(tensors, shard_bytes.value_or(INT64_MAX), names);
  }
  const nlohmann::json index = folder.read_json(names.index(), kMaxIndexBytes);
  const nlohmann::json& places = index.at("weight_map");
  std::map<std::string, MergeShard> shards;
  for (const TensorInfo& info : tensors) {
    // what the reference does not store (merge/tied.h) goes where its last tensors are
    const auto file = places.contains(info.name) ? places[info.name].get<std::string>() : last_file(places);
    shards[file].file = file;
    shards[file].tensors.push_back(info);
  }
  MergeLayout layout;
  layout.index_file = names.index();
  for (auto& [file, shard] : shards) {
    layout.shards.push_back(std::move(shard));
  }
  if (layout.shards.size() == 1) {
    layout.shards.front().file =
        names.single();  // which needs no index, whatever the reference's one is called
  }
  return layout;
}

}  // namespace fusegrid
