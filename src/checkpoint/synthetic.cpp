#include "checkpoint/synthetic.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_writer.h"
#include "checkpoint/synthetic_noise.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr double kExpertNoise = 3e-4;
constexpr int64_t kBlock = 65'536;    // elements that a thread makes at a time
constexpr int64_t kMaxExperts = 256;  // their files are open at once
constexpr int64_t kMaxAdapterRank = 4096;
static_assert(kBlock % kNoiseBatch == 0);

using Shard = std::vector<SyntheticTensor>;

// Models of one layout that are written side by side: a base with its experts, or one adapter.
struct Family {
  std::vector<std::string> folders;  // the first is the base
  std::vector<Shard> shards;
  std::string single_file;  // the name of the weights where there is one shard
  std::map<std::string, std::string> files;
  uint64_t base_key = 0;
  std::vector<uint64_t> noise_keys;  // of folders[1], folders[2], ...
};

int64_t bytes_of(const TensorInfo& tensor) {
  return tensor.numel() * static_cast<int64_t>(at::elementSize(tensor.dtype));
}

std::vector<Shard> shards_of(const std::vector<SyntheticTensor>& tensors, int64_t shard_bytes) {
  std::vector<Shard> shards;
  int64_t left = 0;
  for (const auto& tensor : tensors) {
    const int64_t bytes = bytes_of(tensor.info);
    if (shards.empty() || bytes > left) {
      shards.emplace_back();
      left = shard_bytes;
    }
    shards.back().push_back(tensor);
    left -= bytes;
  }
  return shards;
}

std::string expert_name(int64_t index) {
  return "expert-" + number_text(index);
}

std::vector<Family> families_of(const SyntheticRequest& request) {
  const auto key = [&](const std::string& model) { return derive_key(request.seed, "synth/" + model); };
  Family models{.folders = {"base"},
                .shards = shards_of(model_tensors(request.shape, request.dtype), request.shard_bytes),
                .single_file = "model.safetensors",
                .files = model_files(request.shape, request.dtype),
                .base_key = key("base"),
                .noise_keys = {}};
  std::vector<Family> adapters;
  for (int64_t i = 0; i < request.experts; ++i) {
    if (request.lora_rank == 0) {
      models.folders.push_back(expert_name(i));
      models.noise_keys.push_back(key(expert_name(i)));
    } else {
      adapters.push_back(
          {.folders = {expert_name(i)},
           .shards = {adapter_tensors(request.shape, request.dtype, request.lora_rank, kExpertNoise)},
           .single_file = "adapter_model.safetensors",
           .files = adapter_files(request.shape, request.lora_rank),
           .base_key = key("adapter-" + number_text(i)),
           .noise_keys = {}});
    }
  }
  adapters.insert(adapters.begin(), std::move(models));
  return adapters;
}

std::string file_name(const Family& family, size_t shard) {
  const auto five_digits = [](size_t number) {
    const std::string text = std::to_string(number);
    return std::string(5 - std::min<size_t>(5, text.size()), '0') + text;
  };
  return family.shards.size() == 1 ? family.single_file
                                   : "model-" + five_digits(shard + 1) + "-of-" +
                                         five_digits(family.shards.size()) + ".safetensors";
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  PosixFile file = PosixFile::create(path);
  file.write_at(0, text.data(), text.size());
  file.sync();
}

std::string index_text(const Family& family) {
  nlohmann::json places = nlohmann::json::object();
  int64_t bytes = 0;
  for (size_t shard = 0; shard < family.shards.size(); ++shard) {
    for (const auto& tensor : family.shards[shard]) {
      places[tensor.info.name] = file_name(family, shard);
      bytes += bytes_of(tensor.info);
    }
  }
  return nlohmann::json{{"metadata", {{"total_size", bytes}}}, {"weight_map", places}}.dump(2) + "\n";
}

// A block of elements of one tensor.
struct Piece {
  const SyntheticTensor* tensor = nullptr;
  int64_t begin = 0;
  int64_t count = 0;
};

std::vector<Piece> pieces_of(const Shard& shard) {
  std::vector<Piece> pieces;
  for (const auto& tensor : shard) {
    const int64_t size = tensor.info.numel();
    for (int64_t begin = 0; begin < size; begin += kBlock) {
      pieces.push_back({&tensor, begin, std::min(kBlock, size - begin)});
    }
  }
  return pieces;
}

using Writers = std::vector<std::unique_ptr<SafetensorsWriter>>;  // one of each folder of a family

// Buffers of a thread: the block of the base as float32, noise, and the block in the dtype of the file.
struct Buffers {
  std::vector<float> base = std::vector<float>(kBlock);
  std::vector<float> noise = std::vector<float>(kBlock);
  std::vector<std::byte> stored = std::vector<std::byte>(static_cast<size_t>(kBlock) * sizeof(int64_t));
};

template <typename T>
void write_floating(const Family& family, const Piece& piece, const Writers& writers, Buffers& buffers) {
  const TensorInfo& info = piece.tensor->info;
  const uint64_t stream = derive_key(0, info.name);
  auto* const stored = reinterpret_cast<T*>(buffers.stored.data());
  const auto count = static_cast<size_t>(piece.count);
  synthetic_normals(family.base_key, stream, piece.begin, piece.count, buffers.noise.data());
  for (size_t i = 0; i < count; ++i) {
    stored[i] = static_cast<T>(piece.tensor->mean + piece.tensor->deviation * buffers.noise[i]);
    buffers.base[i] = static_cast<float>(stored[i]);
  }
  writers[0]->write_range(info.name, piece.begin, piece.count, stored);
  for (size_t expert = 0; expert < family.noise_keys.size(); ++expert) {
    synthetic_normals(family.noise_keys[expert], stream, piece.begin, piece.count, buffers.noise.data());
    for (size_t i = 0; i < count; ++i) {
      stored[i] = static_cast<T>(buffers.base[i] + static_cast<float>(kExpertNoise) * buffers.noise[i]);
    }
    writers[expert + 1]->write_range(info.name, piece.begin, piece.count, stored);
  }
}

void write_counter(const Piece& piece, const Writers& writers, Buffers& buffers) {
  auto* const stored = reinterpret_cast<int64_t*>(buffers.stored.data());
  for (int64_t i = 0; i < piece.count; ++i) {
    stored[i] = piece.begin + i;
  }
  for (const auto& writer : writers) {
    writer->write_range(piece.tensor->info.name, piece.begin, piece.count, stored);
  }
}

void write_piece(const Family& family, const Piece& piece, const Writers& writers) {
  thread_local Buffers buffers;
  switch (piece.tensor->info.dtype) {
    case at::kBFloat16:
      return write_floating<c10::BFloat16>(family, piece, writers, buffers);
    case at::kHalf:
      return write_floating<c10::Half>(family, piece, writers, buffers);
    case at::kFloat:
      return write_floating<float>(family, piece, writers, buffers);
    default:
      return write_counter(piece, writers, buffers);
  }
}

// Shard after shard, of all folders at once: a block of the base is made once and serves all experts.
void write_family(const Family& family, const std::filesystem::path& root, int threads) {
  for (const auto& folder : family.folders) {
    std::filesystem::create_directories(root / folder);
    for (const auto& [name, text] : family.files) {
      write_text(root / folder / name, text);
    }
    if (family.shards.size() > 1) {
      write_text(root / folder / "model.safetensors.index.json", index_text(family));
    }
  }
  for (size_t shard = 0; shard < family.shards.size(); ++shard) {
    std::vector<TensorInfo> infos;
    for (const auto& tensor : family.shards[shard]) {
      infos.push_back(tensor.info);
    }
    Writers writers;
    for (const auto& folder : family.folders) {
      writers.push_back(
          std::make_unique<SafetensorsWriter>(root / folder / file_name(family, shard), infos,
                                              std::map<std::string, std::string>{{"format", "pt"}}));
    }
    const auto pieces = pieces_of(family.shards[shard]);
    in_parallel(threads, pieces.size(), [&](size_t i) { write_piece(family, pieces[i], writers); });
    for (const auto& writer : writers) {
      writer->finish();
    }
  }
  for (const auto& folder : family.folders) {
    sync_folder(root / folder);
  }
}

void check_in(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw ConfigError(std::string(name) + " must be in [" + number_text(low) + ", " + number_text(high) +
                      "], but it is " + number_text(value));
  }
}

void check_request(const SyntheticRequest& request) {
  check_shape(request.shape);
  check_in("experts", request.experts, 0, kMaxExperts);
  check_in("the rank of adapters", request.lora_rank, 0, kMaxAdapterRank);
  check_in("threads", request.threads, 1, 1024);
  check_in("the shard size", request.shard_bytes, 1, int64_t{1} << 50);
}

// Throws where `out` exists or its disk is too small; small files and headers are covered by the reserve.
void check_target(const std::filesystem::path& out, const std::vector<SyntheticFolder>& folders) {
  if (std::filesystem::exists(std::filesystem::symlink_status(out))) {
    throw ConfigError("synthetic checkpoints must be written to a new folder, but '" + out.string() +
                      "' exists; remove it or choose another");
  }
  int64_t bytes = 0;
  for (const auto& folder : folders) {
    bytes += folder.tensor_bytes + (int64_t{1} << 20);
  }
  const auto room = static_cast<int64_t>(std::filesystem::space(out.parent_path()).available);
  if (bytes > room) {
    throw ConfigError("the checkpoints need " + number_text(bytes) + " bytes, but the disk of '" +
                      out.parent_path().string() + "' has " + number_text(room) +
                      " left; choose another disk, fewer experts or a smaller model");
  }
}

}  // namespace

std::vector<SyntheticFolder> plan_synthetic(const SyntheticRequest& request) {
  check_request(request);
  std::vector<SyntheticFolder> folders;
  for (const auto& family : families_of(request)) {
    SyntheticFolder folder;
    folder.weight_files = static_cast<int64_t>(family.shards.size());
    for (const auto& shard : family.shards) {
      folder.tensors += static_cast<int64_t>(shard.size());
      for (const auto& tensor : shard) {
        folder.parameters += tensor.info.floating() ? tensor.info.numel() : 0;
        folder.tensor_bytes += bytes_of(tensor.info);
      }
    }
    for (const auto& name : family.folders) {
      folder.name = name;
      folders.push_back(folder);
    }
  }
  return folders;
}

void write_synthetic(const SyntheticRequest& request, const std::filesystem::path& out) {
  // without a slash at its end, which would put the temporary folder inside
  const auto target = (std::filesystem::absolute(out) / "").parent_path();
  const auto folders = plan_synthetic(request);
  std::filesystem::create_directories(target.parent_path());
  check_target(target, folders);
  TemporaryPath temporary(target);
  for (const auto& family : families_of(request)) {
    write_family(family, temporary.path(), request.threads);
  }
  sync_folder(temporary.path());
  temporary.publish();
}

}  // namespace fusegrid
