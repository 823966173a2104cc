#include "checkpoint/lora_expert.h"

#include <algorithm>
#include <set>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include "checkpoint/adapter_files.h"
#include "checkpoint/adapter_names.h"
#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_config.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/lora_update.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

std::vector<float> transposed(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      out[static_cast<size_t>(j * rows + i)] = values[static_cast<size_t>(i * cols + j)];
    }
  }
  return out;
}

}  // namespace

LoraExpert::LoraExpert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options)
    : path_(path),
      base_(base),
      file_(open_adapter_weights(ContainedFolder(path, options.allow_symlinks, options.follow_links))),
      config_(base.config()) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  const LoraConfig config(read_adapter_config(folder), (path / kAdapterConfig).string());
  changes_ = by_names_of_base(lora_changes(file_));
  untie(config);
  std::map<std::string, TensorInfo> tensors;
  for (const TensorInfo& tensor : base_.tensors()) {
    tensors.emplace(tensor.name, tensor);
  }
  for (auto& [name, change] : changes_) {
    TensorInfo tensor = change.origin.empty() ? file_.info(change.copy) : *find_tensor(base_, change.origin);
    tensor.name = name;
    dtypes_.emplace(name, tensor.dtype);
    check_change(change, tensor, config);
    tensor.dtype = at::kFloat;
    tensors.insert_or_assign(name, std::move(tensor));
  }
  for (auto& [name, tensor] : tensors) {
    tensors_.push_back(std::move(tensor));
  }
}

// `changes` as the base calls its tensors.
LoraExpert::Changes LoraExpert::by_names_of_base(LoraChanges changes) const {
  std::vector<AdaptedTensor> adapted;
  for (const auto& [name, change] : changes) {
    AdaptedTensor& tensor = adapted.emplace_back(AdaptedTensor{name, !change.module.empty(), {}});
    if (!change.module.empty()) {
      const FactorShape shape = factor_shape(file_, change);
      tensor.sides = {shape.out, shape.in};
    }
  }
  const NamePrefix prefix = prefix_in_base(path_.string(), adapted, base_);
  std::set<std::string> ours;
  for (const TensorInfo& tensor : base_.tensors()) {
    ours.insert(tensor.name);
  }
  Changes renamed;
  for (auto& [name, change] : changes) {
    const auto known = prefix.ours(name, ours);
    renamed.emplace(known.value_or(name), Change{std::move(change), known.value_or("")});
  }
  return renamed;
}

// In training the head stays what it was where the embedding changes, and the other way round, unless PEFT was told to
// keep them tied.
void LoraExpert::untie(const LoraConfig& config) {
  const auto embedding = tied_embedding(base_);
  const auto head = std::find_if(changes_.begin(), changes_.end(),
                                 [](const auto& change) { return is_tied_head(change.first); });
  const auto moved = embedding ? changes_.find(*embedding) : changes_.end();
  if (!embedding || (moved == changes_.end() && head == changes_.end())) {
    return;
  }
  if (moved != changes_.end() && head != changes_.end() && are_one(moved->second, head->second, config)) {
    changes_.erase(head);
    return;
  }
  if (config.ensures_tying() && head == changes_.end()) {
    return;
  }
  if (config.ensures_tying()) {
    throw ConfigError(
        "'" + path_.string() + "': with ensure_weight_tying, " + printable(head->first) +
        " must change as the embedding to which the base ties it, but it changes otherwise; merge the "
        "adapter with PEFT's merge_and_unload and give the result");
  }
  (head == changes_.end() ? changes_[kTiedHead] : head->second).origin = *embedding;
  config_["tie_word_embeddings"] = false;
}

// Whether both are one change of one tensor.
bool LoraExpert::are_one(const Change& embedding, const Change& head, const LoraConfig& config) const {
  if (embedding.copy.empty() != head.copy.empty() || embedding.module.empty() != head.module.empty() ||
      (!head.copy.empty() && !same_bytes(file_, embedding.copy, head.copy))) {
    return false;
  }
  if (head.module.empty()) {
    return true;
  }
  return embedding.embedding && !head.embedding &&
         config.scale(embedding.module) == config.scale(head.module) &&
         at::equal(file_.read(embedding.a).t(), file_.read(head.b)) &&
         at::equal(file_.read(embedding.b).t(), file_.read(head.a));
}

void LoraExpert::check_change(Change& change, TensorInfo& tensor, const LoraConfig& config) const {
  const std::string where = "'" + file_.path().string() + "': ";
  if (!tensor.floating()) {
    throw ConfigError(where + "only floating tensors can be adapted, but " + printable(tensor.name) + " is " +
                      at::toString(tensor.dtype) + " in the base");
  }
  if (!change.copy.empty()) {
    check_copy(change, tensor);
  }
  if (change.module.empty()) {
    return;
  }
  if (tensor.shape.size() != 2) {
    throw ConfigError(where + "only matrices are adapted, but " + printable(tensor.name) + " is " +
                      shape_text(tensor.shape) + "; merge the adapter with PEFT's merge_and_unload");
  }
  change.rank = config.rank(change.module);
  change.scale = static_cast<float>(config.scale(change.module));
  change.transposed = change.embedding || config.fan_in_fan_out();
  check_factors(change, tensor);
  change.rows = tensor.shape[0];
  change.cols = tensor.shape[1];
}

// It may have more or fewer rows (of tokens, of classes) than the base's tensor: who merges says whether that will do.
void LoraExpert::check_copy(const Change& change, TensorInfo& tensor) const {
  const TensorInfo copy = file_.info(change.copy);
  const bool rows_alone = !copy.shape.empty() && copy.shape.size() == tensor.shape.size() &&
                          std::equal(copy.shape.begin() + 1, copy.shape.end(), tensor.shape.begin() + 1);
  if (!copy.floating() || !rows_alone) {
    throw ConfigError("'" + file_.path().string() + "': " + printable(change.copy) +
                      " must have the shape of the base's tensor, " + shape_text(tensor.shape) +
                      ", but it is " + at::toString(copy.dtype) + " " + shape_text(copy.shape) +
                      "; give the base that the adapter was trained on");
  }
  tensor.shape = copy.shape;
}

void LoraExpert::check_factors(const Change& change, TensorInfo& tensor) const {
  const std::string where = "'" + file_.path().string() + "': ";
  const FactorShape shape = factor_shape(file_, change);
  if (shape.rank != change.rank) {
    throw DataError(where + printable(change.module) + " must have the rank of " + kAdapterConfig + ", " +
                    number_text(change.rank) + ", but its factors have rank " + number_text(shape.rank));
  }
  if (change.embedding) {  // tokens may have been added before the training
    tensor.shape[0] = shape.in;
  } else if (is_tied_head(tensor.name) && !change.transposed) {
    tensor.shape[0] = shape.out;
  }
  const int64_t out = change.transposed ? tensor.shape[1] : tensor.shape[0];
  const int64_t in = change.transposed ? tensor.shape[0] : tensor.shape[1];
  if (shape.in != in || shape.out != out) {
    const bool turned = !change.embedding && shape.in == out && shape.out == in;
    throw ConfigError("an adapter must fit its base, but the update of " + printable(tensor.name) + " is " +
                      shape_text({shape.out, shape.in}) + " (out, in) and the base '" + base_.name() +
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

// What the update is added to: the base's elements, or those of the adapter's own copy. Rows of tokens that were
// added to an embedding before it was adapted are in no file: nobody may ask for them.
void LoraExpert::read_floats(const Change& change, const std::string& name, int64_t begin, int64_t count,
                             float* destination) const {
  const bool own = !change.copy.empty();
  const auto read = [&](int64_t first, int64_t n, void* to) {
    if (own) {
      file_.read_range(change.copy, first, n, to);
    } else {
      base_.read_range(change.origin, first, n, to);
    }
  };
  read_as_floats(read, own ? file_.info(change.copy).dtype : dtypes_.at(name), begin, count, destination);
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
  const int64_t first_row = begin / change.cols;
  const int64_t rows = (begin + count - 1) / change.cols - first_row + 1;
  add_low_rank(left_factor(change, first_row, rows), right_factor(change), change.rank, change.cols,
               change.scale, begin, count, values);
}

std::optional<LowRankFactors> LoraExpert::factors(const std::string& name) const {
  const auto it = changes_.find(name);
  if (it == changes_.end() || it->second.module.empty() || !it->second.copy.empty() ||
      it->second.origin != name) {
    return std::nullopt;
  }
  const Change& change = it->second;
  if (find_tensor(base_, name)->shape != std::vector<int64_t>{change.rows, change.cols}) {
    return std::nullopt;
  }
  const auto left = left_factor(change, 0, change.rows);
  const auto right = right_factor(change);
  return LowRankFactors{at::tensor(left).view({change.rows, change.rank}),
                        at::tensor(right).view({change.rank, change.cols}), change.scale};
}

void LoraExpert::check_unchanged() const {
  file_.check_unchanged();
  base_.check_unchanged();
}

}  // namespace fusegrid
