#include "checkpoint/ia3_expert.h"

#include <algorithm>
#include <set>

#include "checkpoint/adapter_files.h"
#include "checkpoint/adapter_names.h"
#include "checkpoint/checks.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
Ia3Expert::Ia3Expert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options)
    : path_(path), base_(base), file_(path, options) {
  std::vector<AdaptedTensor> adapted;
  for (const auto& [module, vector] : file_.vectors()) {
    adapted.push_back({module + ".weight", true, {vector.length}});
  }
  for (const auto& [tensor, key] : file_.copies()) {
    adapted.push_back({tensor, false, {}});
  }
  const NamePrefix prefix = prefix_in_base(path_.string(), adapted, base_);
  for (const TensorInfo& tensor : base_.tensors()) {
    by_name_.emplace(tensor.name, tensor);
  }
  for (const auto& [tensor, key] : file_.copies()) {
    add_copy(tensor, key, prefix);
  }
  for (const auto& [module, vector] : file_.vectors()) {
    add_vector(module, vector, prefix);
  }
  for (auto& [name, tensor] : by_name_) {
    tensors_.push_back(std::move(tensor));
  }
  by_name_.clear();
}

void Ia3Expert::add_copy(const std::string& tensor, const std::string& key, const NamePrefix& prefix) {
  std::set<std::string> ours;
  for (const auto& [name, info] : by_name_) {
    ours.insert(name);
  }
  TensorInfo copy = file_.file().info(key);
  copy.name = prefix.ours(tensor, ours).value_or(tensor);
  const std::string where = "'" + file_.file().path().string() + "': ";
  if (tied_embedding(base_) && (is_tied_head(copy.name) || copy.name == *tied_embedding(base_))) {
    throw ConfigError(where + printable(copy.name) +
                      " is held whole, but the base ties head and embedding; merge the adapter with PEFT's "
                      "merge_and_unload and give the result");
  }
  const auto own = by_name_.find(copy.name);
  const bool fits = own == by_name_.end() ||
                    (own->second.shape.size() == copy.shape.size() && !copy.shape.empty() &&
                     std::equal(copy.shape.begin() + 1, copy.shape.end(), own->second.shape.begin() + 1));
  if (!copy.floating() || !fits) {
    throw ConfigError(where + printable(key) + " must have the shape of the base's tensor, " +
                      (own == by_name_.end() ? "" : shape_text(own->second.shape)) + ", but it is " +
                      at::toString(copy.dtype) + " " + shape_text(copy.shape) +
                      "; give the base that the adapter was trained on");
  }
  replace(copy, {.copy = key, .vector = {}});
}

void Ia3Expert::add_vector(const std::string& module, const Ia3File::Vector& vector,
                           const NamePrefix& prefix) {
  std::set<std::string> ours;
  for (const auto& [name, info] : by_name_) {
    ours.insert(name);
  }
  const std::string weight = prefix.ours(module + ".weight", ours).value();
  const TensorInfo& info = by_name_.at(weight);
  const bool of_columns = vector.of_inputs != file_.config().fan_in_fan_out();
  if (!info.floating() || info.shape.size() != 2 || info.shape[of_columns ? 1 : 0] != vector.length) {
    throw ConfigError("an adapter must fit its base, but the vector of " + printable(weight) +
                      " multiplies " + number_text(vector.length) +
                      (vector.of_inputs ? " inputs" : " outputs") + " and the tensor of the base '" +
                      base_.name() + "' is " + shape_text(info.shape) +
                      "; is fan_in_fan_out wrong? Else give the base that it was trained on");
  }
  const auto values = file_.read(vector);
  replace(info, {.copy = changes_.contains(weight) ? changes_.at(weight).copy : "",
                 .vector = values,
                 .row = info.shape[1],
                 .of_columns = of_columns});
  const std::string bias = weight.substr(0, weight.size() - std::string("weight").size()) + "bias";
  const auto found = by_name_.find(bias);
  if (!vector.of_inputs && found != by_name_.end()) {
    replace(found->second,
            {.copy = changes_.contains(bias) ? changes_.at(bias).copy : "", .vector = values, .row = 1});
  }
}

void Ia3Expert::replace(TensorInfo tensor, Change change) {
  if (!change.copy.empty()) {
    dtypes_.insert_or_assign(tensor.name, file_.file().info(change.copy).dtype);
  } else {
    dtypes_.emplace(tensor.name, tensor.dtype);
  }
  tensor.dtype = at::kFloat;
  changes_.insert_or_assign(tensor.name, std::move(change));
  by_name_.insert_or_assign(tensor.name, std::move(tensor));
}

void Ia3Expert::read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const {
  const auto it = changes_.find(name);
  if (it == changes_.end()) {
    base_.read_range(name, begin, count, destination);
    return;
  }
  const Change& change = it->second;
  auto* const values = static_cast<float*>(destination);
  const auto read = [&](int64_t first, int64_t n, void* to) {
    if (change.copy.empty()) {
      base_.read_range(name, first, n, to);
    } else {
      file_.file().read_range(change.copy, first, n, to);
    }
  };
  read_as_floats(read, dtypes_.at(name), begin, count, values);
  if (change.vector.empty()) {
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = begin + i;
    values[i] *= change.vector[static_cast<size_t>(change.of_columns ? at % change.row : at / change.row)];
  }
}

void Ia3Expert::check_unchanged() const {
  file_.file().check_unchanged();
  base_.check_unchanged();
}

}  // namespace fusegrid
