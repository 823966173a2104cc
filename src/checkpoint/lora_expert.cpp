#include "checkpoint/lora_expert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_config.h"
#include "checkpoint/lora_keys.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr auto kAdapterConfig = "adapter_config.json";
constexpr auto kWeights = "adapter_model.safetensors";
constexpr uint64_t kMaxAdapterConfigBytes = uint64_t{16} << 20;
constexpr size_t kMaxListed = 5;
constexpr int64_t kReadBlock = 65'536;  // elements that are converted at a time
constexpr int64_t kColumns = 256;  // of a tile of the product: the tile of the factor stays in the L1 cache

const TensorInfo* find(const std::vector<TensorInfo>& tensors, const std::string& name) {
  const auto it =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const TensorInfo& tensor, const std::string& key) { return tensor.name < key; });
  return it != tensors.end() && it->name == name ? &*it : nullptr;
}

// Why a tensor can be missing although the adapter is of this base.
std::string tied_hint(const std::set<std::string>& missing) {
  const bool head = std::any_of(missing.begin(), missing.end(),
                                [](const std::string& name) { return name.ends_with("lm_head.weight"); });
  return head ? " A base without lm_head.weight uses its embedding there (tied weights): untie it before "
                "training, or adapt the embedding alone."
              : "";
}

[[noreturn]] void fail_with_another_base(const std::string& adapter, const std::string& base,
                                         const std::set<std::string>& missing) {
  std::vector<std::string> names(missing.begin(), missing.end());
  names.resize(std::min(names.size(), kMaxListed));
  for (auto& name : names) {
    name = printable(name);
  }
  throw ConfigError("an adapter must have been trained on its base, but '" + adapter + "' changes " +
                    number_text(static_cast<int64_t>(missing.size())) + " tensor(s) that '" + base +
                    "' does not have: " + join(names, ", ") + (missing.size() > kMaxListed ? ", ..." : "") +
                    "." + tied_hint(missing) + " Give the base that adapter_config.json names.");
}

// out[j] += scale * sum_k row[k] * right[k][j] of the columns [first, last): element by element in the order of
// k, whatever the columns are.
void add_row(const float* row, const std::vector<float>& right, const int64_t rank, int64_t cols, float scale,
             int64_t first, int64_t last, float* out) {
  std::array<float, static_cast<size_t>(kColumns)> sums{};
  const int64_t count = last - first;
  for (int64_t k = 0; k < rank; ++k) {
    const float factor = row[k];
    const float* const values = right.data() + k * cols + first;
    for (int64_t j = 0; j < count; ++j) {
      sums[static_cast<size_t>(j)] += factor * values[j];
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    out[j] += scale * sums[static_cast<size_t>(j)];
  }
}

std::vector<float> transposed(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      out[static_cast<size_t>(j * rows + i)] = values[static_cast<size_t>(i * cols + j)];
    }
  }
  return out;
}

bool same_bytes(const SafetensorsFile& file, const std::string& first, const std::string& second) {
  const at::Tensor a = file.read(first);
  const at::Tensor b = file.read(second);
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

PosixFile open_weights(const ContainedFolder& folder) {
  if (!folder.contains(kWeights) && folder.contains("adapter_model.bin")) {
    throw ConfigError(
        "'" + (folder.path() / "adapter_model.bin").string() +
        "' is a pickle file, which can run code when it is loaded and is never read; convert it with "
        "PEFT's model.save_pretrained(folder, safe_serialization=True)");
  }
  return folder.open(kWeights);
}

}  // namespace

LoraExpert::LoraExpert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options)
    : path_(path), base_(base), file_(open_weights(ContainedFolder(path, options.allow_symlinks))) {
  const ContainedFolder folder(path, options.allow_symlinks);
  const LoraConfig config(folder.read_json(kAdapterConfig, kMaxAdapterConfigBytes),
                          (path / kAdapterConfig).string());
  const Changes changes = changes_in_file();
  const std::string prefix = prefix_in_base(changes);
  tensors_ = base_.tensors();
  for (const auto& [name, change] : changes) {
    changes_.emplace(prefix + name, change);
  }
  for (auto& tensor : tensors_) {
    if (const auto it = changes_.find(tensor.name); it != changes_.end()) {
      check_change(it->second, tensor, config);
      dtypes_.emplace(tensor.name, tensor.dtype);
      tensor.dtype = at::kFloat;
    }
  }
}

// By names as in the model that the adapter was trained on.
LoraExpert::Changes LoraExpert::changes_in_file() const {
  using Kind = LoraKey::Kind;
  const std::string where = file_.path().string();
  Changes changes;
  for (const auto& tensor : file_.tensors()) {
    const LoraKey key = parse_lora_key(tensor.name, where);
    if (key.kind == Kind::kUnused) {
      continue;
    }
    const bool copy = key.kind == Kind::kCopy;
    const bool embedding = key.kind == Kind::kEmbeddingA || key.kind == Kind::kEmbeddingB;
    const bool a = key.kind == Kind::kA || key.kind == Kind::kEmbeddingA;
    Change& change = changes[copy ? key.target : key.target + ".weight"];
    std::string& slot = copy ? change.copy : a ? change.a : change.b;
    // PEFT writes some copies under two names
    if (!slot.empty() && !(copy && same_bytes(file_, slot, tensor.name))) {
      throw DataError("'" + where + "' must hold each tensor once, but " + printable(slot) + " and " +
                      printable(tensor.name) + " are both " + printable(key.target));
    }
    slot = tensor.name;
    if (!copy && !change.module.empty() && change.embedding != embedding) {
      throw DataError("'" + where + "' must hold factors of one kind for each module, but " +
                      printable(key.target) + " has those of an embedding and others");
    }
    if (!copy) {
      change.module = key.target;
      change.embedding = embedding;
    }
  }
  if (changes.empty()) {
    throw DataError("'" + where + "' must hold the tensors of an adapter, but it holds none");
  }
  return changes;
}

// "" where the adapter was trained on the whole base; "vision_model." where on that part of it. The one prefix
// under which the base has all tensors that change.
std::string LoraExpert::prefix_in_base(const Changes& changes) const {
  const auto missing_under = [&](const std::string& prefix) {
    std::set<std::string> missing;
    for (const auto& [name, change] : changes) {
      if (find(base_.tensors(), prefix + name) == nullptr) {
        missing.insert(prefix + name);
      }
    }
    return missing;
  };
  const auto missing = missing_under("");
  if (missing.empty()) {
    return "";
  }
  std::vector<std::string> prefixes;
  const std::string& first = changes.begin()->first;
  for (const auto& tensor : base_.tensors()) {
    if (tensor.name.ends_with("." + first)) {
      const std::string prefix = tensor.name.substr(0, tensor.name.size() - first.size());
      if (missing_under(prefix).empty()) {
        prefixes.push_back(prefix);
      }
    }
  }
  if (prefixes.empty()) {
    fail_with_another_base(path_.string(), base_.name(), missing);
  }
  if (prefixes.size() > 1) {
    throw ConfigError("an adapter must fit one part of its base, but the modules of '" + path_.string() +
                      "' are in '" + base_.name() + "' under " + printable(prefixes[0]) + " and under " +
                      printable(prefixes[1]) + "; merge it with PEFT's merge_and_unload and give the result");
  }
  return prefixes.front();
}

void LoraExpert::check_change(Change& change, const TensorInfo& tensor, const LoraConfig& config) const {
  const std::string where = "'" + file_.path().string() + "': ";
  if (!tensor.floating()) {
    throw ConfigError(where + "only floating tensors can be adapted, but " + printable(tensor.name) + " is " +
                      at::toString(tensor.dtype) + " in the base");
  }
  if (!change.copy.empty()) {
    const TensorInfo copy = file_.info(change.copy);
    if (copy.shape != tensor.shape || !copy.floating()) {
      throw ConfigError(where + printable(change.copy) + " must have the shape of the base's tensor, " +
                        shape_text(tensor.shape) + ", but it is " + at::toString(copy.dtype) + " " +
                        shape_text(copy.shape) + "; was the vocabulary or the head resized?");
    }
  }
  if (change.module.empty()) {
    return;
  }
  if (change.a.empty() || change.b.empty()) {
    throw DataError(where + "a module must have both factors, but " + printable(change.module) +
                    " lacks its " + (change.a.empty() ? "A" : "B") + "; was the file cut?");
  }
  if (tensor.shape.size() != 2) {
    throw ConfigError(where + "only matrices are adapted, but " + printable(tensor.name) + " is " +
                      shape_text(tensor.shape) + "; merge the adapter with PEFT's merge_and_unload");
  }
  change.rank = config.rank(change.module);
  change.scale = static_cast<float>(config.scale(change.module));
  change.transposed = change.embedding || config.fan_in_fan_out();
  change.rows = tensor.shape[0];
  change.cols = tensor.shape[1];
  check_factors(change, tensor.name);
}

void LoraExpert::check_factors(const Change& change, const std::string& name) const {
  const std::string where = "'" + file_.path().string() + "': ";
  const TensorInfo a = file_.info(change.a);
  const TensorInfo b = file_.info(change.b);
  const bool matrices = a.shape.size() == 2 && b.shape.size() == 2 && a.floating() && b.floating();
  if (!matrices || a.shape[0] != b.shape[1]) {
    throw DataError(where + "the factors of " + printable(change.module) +
                    " must be floating [r, in] and [out, r], but they are " + shape_text(a.shape) + " and " +
                    shape_text(b.shape));
  }
  if (a.shape[0] != change.rank) {
    throw DataError(where + printable(change.module) + " must have the rank of " + kAdapterConfig + ", " +
                    number_text(change.rank) + ", but its factors have rank " + number_text(a.shape[0]));
  }
  const int64_t out = change.transposed ? change.cols : change.rows;
  const int64_t in = change.transposed ? change.rows : change.cols;
  if (a.shape[1] != in || b.shape[0] != out) {
    const bool turned = !change.embedding && a.shape[1] == out && b.shape[0] == in;
    throw ConfigError("an adapter must fit its base, but the update of " + printable(name) + " is " +
                      shape_text({b.shape[0], a.shape[1]}) + " (out, in) and the base '" + base_.name() +
                      "' needs " + shape_text({out, in}) +
                      (turned ? "; is fan_in_fan_out wrong?" : "; give the base it was trained on"));
  }
}

void LoraExpert::read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const {
  const auto it = changes_.find(name);
  if (it == changes_.end()) {
    base_.read_range(name, begin, count, destination);
    return;
  }
  auto* const values = static_cast<float*>(destination);
  read_floats(it->second, name, begin, count, values);
  if (!it->second.module.empty()) {
    add_update(it->second, begin, count, values);
  }
}

// What the update is added to: the base's elements, or those of the adapter's own copy.
void LoraExpert::read_floats(const Change& change, const std::string& name, int64_t begin, int64_t count,
                             float* destination) const {
  const bool own = !change.copy.empty();
  const at::ScalarType dtype = own ? file_.info(change.copy).dtype : dtypes_.at(name);
  at::Tensor stored = at::empty({std::min(count, kReadBlock)}, dtype);
  for (int64_t done = 0; done < count; done += kReadBlock) {
    const int64_t n = std::min(kReadBlock, count - done);
    if (own) {
      file_.read_range(change.copy, begin + done, n, stored.mutable_data_ptr());
    } else {
      base_.read_range(name, begin + done, n, stored.mutable_data_ptr());
    }
    at::from_blob(destination + done, {n}, at::kFloat).copy_(stored.narrow(0, 0, n));
  }
}

std::vector<float> LoraExpert::read_factor(const std::string& key, int64_t begin, int64_t count) const {
  at::Tensor stored = at::empty({count}, file_.info(key).dtype);
  file_.read_range(key, begin, count, stored.mutable_data_ptr());
  std::vector<float> values(static_cast<size_t>(count));
  at::from_blob(values.data(), {count}, at::kFloat).copy_(stored);
  return values;
}

// [rows, rank]: the rows [first_row, first_row + rows) of the factor whose rows are those of W.
std::vector<float> LoraExpert::left_factor(const Change& change, int64_t first_row, int64_t rows) const {
  if (!change.transposed) {
    return read_factor(change.b, first_row * change.rank, rows * change.rank);
  }
  std::vector<float> columns;  // of A [rank, rows of W]
  for (int64_t k = 0; k < change.rank; ++k) {
    const auto part = read_factor(change.a, k * change.rows + first_row, rows);
    columns.insert(columns.end(), part.begin(), part.end());
  }
  return transposed(columns, change.rank, rows);
}

// [rank, cols of W]: all of the other factor.
std::vector<float> LoraExpert::right_factor(const Change& change) const {
  auto values = read_factor(change.transposed ? change.b : change.a, 0, change.rank * change.cols);
  return change.transposed ? transposed(values, change.cols, change.rank) : values;
}

void LoraExpert::add_update(const Change& change, int64_t begin, int64_t count, float* values) const {
  if (count == 0) {
    return;
  }
  const int64_t end = begin + count;
  const int64_t first_row = begin / change.cols;
  const int64_t rows = (end - 1) / change.cols - first_row + 1;
  const auto left = left_factor(change, first_row, rows);
  const auto right = right_factor(change);
  for (int64_t column = 0; column < change.cols; column += kColumns) {
    const int64_t columns = std::min(kColumns, change.cols - column);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row_begin = (first_row + i) * change.cols;
      const int64_t first = std::max(begin - row_begin, column);
      const int64_t last = std::min(end - row_begin, column + columns);
      if (first < last) {
        add_row(left.data() + i * change.rank, right, change.rank, change.cols, change.scale, first, last,
                values + row_begin + first - begin);
      }
    }
  }
}

void LoraExpert::check_unchanged() const {
  file_.check_unchanged();
  base_.check_unchanged();
}

}  // namespace fusegrid
