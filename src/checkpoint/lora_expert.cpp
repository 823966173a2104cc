#include "checkpoint/lora_expert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_config.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/lora_keys.h"
#include "checkpoint/name_prefix.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxAdapterConfigBytes = uint64_t{16} << 20;
constexpr size_t kMaxListed = 5;
constexpr int64_t kReadBlock = 65'536;  // elements that are converted at a time
constexpr int64_t kColumns = 256;  // of a tile of the product: the tile of the factor stays in the L1 cache

// names: of the adapter's tensors, of which `base` lacks some under any prefix.
[[noreturn]] void fail_with_another_base(const std::string& adapter, const std::string& base,
                                         const NamePrefix& prefix, const std::set<std::string>& missing) {
  std::vector<std::string> names;
  std::transform(missing.begin(), missing.end(), std::back_inserter(names),
                 [](const std::string& name) { return printable(name); });
  const bool head = std::any_of(missing.begin(), missing.end(), is_tied_head);
  const std::string renamed =
      prefix.text.empty()
          ? ""
          : " That the names of the " + std::string(prefix.is_ours ? "base" : "adapter") +
                " have the prefix " + printable(prefix.text) + " more was taken into account.";
  throw ConfigError("an adapter must have been trained on its base, but '" + adapter + "' changes " +
                    number_text(static_cast<int64_t>(missing.size())) + " tensor(s) that '" + base +
                    "' does not have: " + some_names(names, kMaxListed) + "." + renamed +
                    (head ? " A base that has its embedding as head (tied weights) says so in config.json: "
                            "tie_word_embeddings."
                          : "") +
                    " Give the whole base that adapter_config.json names; or merge the adapter with PEFT's "
                    "merge_and_unload and give the result.");
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
  if (!folder.contains(kAdapterWeights) && folder.contains("adapter_model.bin")) {
    throw ConfigError(
        "'" + (folder.path() / "adapter_model.bin").string() +
        "' is a pickle file, which can run code when it is loaded and is never read; convert it with "
        "PEFT's model.save_pretrained(folder, safe_serialization=True)");
  }
  return folder.open(kAdapterWeights);
}

}  // namespace

LoraExpert::LoraExpert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options)
    : path_(path),
      base_(base),
      file_(open_weights(ContainedFolder(path, options.allow_symlinks, options.follow_links))),
      config_(base.config()) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  const LoraConfig config(folder.read_json(kAdapterConfig, kMaxAdapterConfigBytes),
                          (path / kAdapterConfig).string());
  changes_ = by_names_of_base(changes_in_file());
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

// `changes` as the base calls its tensors: by the names that they have, or with the one prefix that fits the most of
// them ("vision_model." where the adapter was trained on that part of the base). Trained copies may be of tensors that
// the base lacks. Where two prefixes fit names alike, as those of CLIP's towers do, shapes decide.
LoraExpert::Changes LoraExpert::by_names_of_base(Changes changes) const {
  std::set<std::string> ours;
  std::set<std::string> theirs;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorInfo& tensor : base_.tensors()) {
    ours.insert(tensor.name);
    shapes.emplace(tensor.name, tensor.shape);
  }
  for (const auto& [name, change] : changes) {
    theirs.insert(name);
  }
  const bool tied = tied_embedding(base_).has_value();
  const auto missing_with = [&](const NamePrefix& prefix) {
    std::set<std::string> missing;
    for (const std::string& name : theirs) {
      if (!prefix.ours(name, ours) && !(tied && is_tied_head(name))) {
        missing.insert(name);
      }
    }
    return missing;
  };
  NamePrefix prefix;
  std::set<std::string> missing = missing_with(prefix);
  std::vector<NamePrefix> others =
      missing.empty() ? std::vector<NamePrefix>() : prefixes_between(ours, theirs);
  std::erase_if(others,
                [&](const NamePrefix& other) { return missing_with(other).size() >= missing.size(); });
  const auto shapes_fit = [&](const NamePrefix& other) {
    return std::ranges::all_of(changes, [&](const auto& named) {
      const auto& [name, change] = named;
      const auto known = other.ours(name, ours);
      if (!known || change.a.empty() || change.b.empty()) {
        return true;
      }
      const auto& a = file_.info(change.a).shape;
      const auto& b = file_.info(change.b).shape;
      const auto& shape = shapes.at(*known);
      return a.size() == 2 && b.size() == 2 &&
             std::multiset<int64_t>{a[1], b[0]} == std::multiset<int64_t>(shape.begin(), shape.end());
    });
  };
  if (others.size() > 1 && std::ranges::count_if(others, shapes_fit) == 1) {
    std::erase_if(others, [&](const NamePrefix& other) { return !shapes_fit(other); });
  }
  if (others.size() > 1) {
    throw ConfigError("an adapter must fit one part of its base, but the modules of '" + path_.string() +
                      "' are in '" + base_.name() + "' under " + printable(others[0].text) + " and under " +
                      printable(others[1].text) +
                      "; merge it with PEFT's merge_and_unload and give the result");
  }
  if (others.size() == 1) {
    prefix = others.front();
    missing = missing_with(prefix);
  }
  std::erase_if(missing, [&](const std::string& name) { return changes.at(name).module.empty(); });
  if (!missing.empty()) {
    fail_with_another_base(path_.string(), base_.name(), prefix, missing);
  }
  Changes renamed;
  for (auto& [name, change] : changes) {
    const auto known = prefix.ours(name, ours);
    change.origin = known.value_or("");
    renamed.emplace(known.value_or(name), std::move(change));
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
  const bool pairs = embedding.embedding && !head.embedding && !embedding.a.empty() && !embedding.b.empty() &&
                     !head.a.empty() && !head.b.empty() && file_.info(embedding.a).shape.size() == 2 &&
                     file_.info(embedding.b).shape.size() == 2;
  return pairs && config.scale(embedding.module) == config.scale(head.module) &&
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
  if (change.embedding) {  // tokens may have been added before the training
    tensor.shape[0] = a.shape[1];
  } else if (is_tied_head(tensor.name) && !change.transposed) {
    tensor.shape[0] = b.shape[0];
  }
  const int64_t out = change.transposed ? tensor.shape[1] : tensor.shape[0];
  const int64_t in = change.transposed ? tensor.shape[0] : tensor.shape[1];
  if (a.shape[1] != in || b.shape[0] != out) {
    const bool turned = !change.embedding && a.shape[1] == out && b.shape[0] == in;
    throw ConfigError("an adapter must fit its base, but the update of " + printable(tensor.name) + " is " +
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

// What the update is added to: the base's elements, or those of the adapter's own copy. Rows of tokens that were
// added to an embedding before it was adapted are in no file: nobody may ask for them.
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
      base_.read_range(change.origin, begin + done, n, stored.mutable_data_ptr());
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
