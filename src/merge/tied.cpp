#include "merge/tied.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kBlockElements = int64_t{1} << 20;  // that are compared at a time

// A model without some of its tensors, and with others that are copies of those it has.
class TiedView final : public ModelSource {
 public:
  TiedView(std::unique_ptr<ModelSource> model, const std::set<std::string>& hidden,
           std::map<std::string, std::string> copies)
      : model_(std::move(model)), copies_(std::move(copies)) {
    for (const TensorInfo& info : model_->tensors()) {
      if (!hidden.contains(info.name)) {
        tensors_.push_back(info);
      }
    }
    for (const auto& [name, of] : copies_) {
      tensors_.push_back(*find_tensor(*model_, of));
      tensors_.back().name = name;
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  }
  std::string name() const override { return model_->name(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return model_->config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const auto it = copies_.find(name);
    model_->read_range(it == copies_.end() ? name : it->second, begin, count, destination);
  }
  // A copy need not differ from the base's tensor of its name as the one it copies does from that of its own.
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    return copies_.contains(name) ? std::nullopt : model_->factors(name);
  }
  void check_unchanged() const override { model_->check_unchanged(); }

 private:
  std::unique_ptr<ModelSource> model_;
  std::map<std::string, std::string> copies_;  // of which tensor
  std::vector<TensorInfo> tensors_;
};

// "model.embed_tokens.weight" -> "embed_tokens"
std::string module_of(const std::string& tensor) {
  const auto parts = split(tensor, '.');
  return parts.size() < 2 || parts.back() != "weight" ? "" : parts[parts.size() - 2];
}

// Tensors of `model` that `tensor` can be a copy of.
std::vector<std::string> possible_originals(const ModelSource& model, const TensorInfo& tensor) {
  std::vector<std::string> names;
  const std::string end = ".decoder.bias";
  for (const TensorInfo& other : model.tensors()) {
    if (other.shape != tensor.shape || other.name == tensor.name || !other.floating() || !tensor.floating()) {
      continue;
    }
    const bool table = tensor.shape.size() == 2 &&
                       (is_token_embedding(other.name) || is_token_embedding(tensor.name)) &&
                       module_of(tensor.name) != "" && module_of(other.name) != "";
    const bool bias = tensor.name.ends_with(end) &&
                      other.name == tensor.name.substr(0, tensor.name.size() - end.size()) + ".bias";
    if (table || bias) {
      names.push_back(other.name);
    }
  }
  return names;
}

bool same_bits(const ModelSource& model, const TensorInfo& a, const TensorInfo& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) {
    return false;
  }
  const auto width = static_cast<int64_t>(c10::elementSize(a.dtype));
  std::vector<char> first(static_cast<size_t>(std::min(kBlockElements, a.numel()) * width));
  std::vector<char> second(first.size());
  for (int64_t begin = 0; begin < a.numel(); begin += kBlockElements) {
    const int64_t count = std::min(kBlockElements, a.numel() - begin);
    model.read_range(a.name, begin, count, first.data());
    model.read_range(b.name, begin, count, second.data());
    if (std::memcmp(first.data(), second.data(), static_cast<size_t>(count * width)) != 0) {
      return false;
    }
  }
  return true;
}

// One tensor that some models store and others may not.
class Tie {
 public:
  Tie(std::string copy, std::vector<const ModelSource*> models)
      : copy_(std::move(copy)), models_(std::move(models)) {
    for (const ModelSource* model : models_) {
      if (const TensorInfo* stored = find_tensor(*model, copy_)) {
        for (const std::string& name : possible_originals(*model, *stored)) {
          if (std::all_of(models_.begin(), models_.end(),
                          [&](const ModelSource* any) { return find_tensor(*any, name) != nullptr; })) {
            originals_.insert(name);
          }
        }
      }
    }
    for (const ModelSource* model : models_) {
      const TensorInfo* const stored = find_tensor(*model, copy_);
      apart_.push_back(stored != nullptr && !is_copy(*model, *stored));
    }
  }

  bool possible() const { return !originals_.empty(); }
  bool any_apart() const { return std::find(apart_.begin(), apart_.end(), true) != apart_.end(); }

  // Throws ConfigError where a model contradicts itself.
  void check() const {
    for (size_t i = 0; i < models_.size(); ++i) {
      if (apart_[i] && stated_tie(models_[i]->config()) == true) {
        throw ConfigError("a model must have its head tied or a head of its own, but '" + models_[i]->name() +
                          "' has tie_word_embeddings = true in config.json and stores '" + copy_ +
                          "', which is not '" + *originals_.begin() +
                          "'; set it to false where the stored head counts, or delete that tensor");
      }
    }
  }

  // Whether every model that lacks the tensor says that it is tied, so that it has it as a copy.
  bool all_have_it() const {
    return std::all_of(models_.begin(), models_.end(), [&](const ModelSource* model) {
      return find_tensor(*model, copy_) != nullptr ||
             (is_tied(model->config()) || (!any_apart() && !stated_tie(model->config())));
    });
  }

  const std::string& copy() const { return copy_; }
  const std::string& original() const { return *originals_.begin(); }

 private:
  bool is_copy(const ModelSource& model, const TensorInfo& stored) const {
    return std::any_of(originals_.begin(), originals_.end(), [&](const std::string& name) {
      return same_bits(model, stored, *find_tensor(model, name));
    });
  }

  std::string copy_;
  std::vector<const ModelSource*> models_;  // the reference first
  std::set<std::string> originals_;
  std::vector<bool> apart_;  // has it, as another tensor than the original
};

// What some models lack; and heads that all store although the reference says that they are tied.
std::set<std::string> candidates(const std::vector<const ModelSource*>& models) {
  std::map<std::string, size_t> times;
  for (const ModelSource* model : models) {
    for (const TensorInfo& info : model->tensors()) {
      ++times[info.name];
    }
  }
  const bool tied = stated_tie(models.front()->config()) == true;
  std::set<std::string> names;
  for (const auto& [name, count] : times) {
    if (count < models.size() || (tied && is_output_head(name))) {
      names.insert(name);
    }
  }
  return names;
}

}  // namespace

bool is_output_head(const std::string& tensor) {
  static const std::set<std::string> modules{"lm_head",         "embed_out",         "decoder",
                                             "vocab_projector", "generator_lm_head", "output"};
  return modules.contains(module_of(tensor));
}

bool is_output_bias(const std::string& tensor) {
  const std::string end = ".bias";
  return tensor.ends_with(end) && is_output_head(tensor.substr(0, tensor.size() - end.size()) + ".weight");
}

bool make_ties_alike(const std::vector<std::unique_ptr<ModelSource>*>& owners) {
  std::vector<const ModelSource*> models;
  for (const auto* owner : owners) {
    models.push_back(owner->get());
  }
  const ModelSource& reference = *models.front();
  const std::optional<bool> reference_says = stated_tie(reference.config());
  std::set<std::string> hidden;
  std::map<std::string, std::string> copies;
  bool untied = false;
  for (const std::string& name : candidates(models)) {
    const Tie tie(name, models);
    if (!tie.possible() || !(is_output_head(name) || is_token_embedding(name) || !tie.any_apart()) ||
        !tie.all_have_it()) {
      continue;  // a difference like any other
    }
    tie.check();
    const bool in_reference = find_tensor(reference, name) != nullptr;
    if (!tie.any_apart() && (!in_reference || reference_says == true)) {
      hidden.insert(name);
      continue;
    }
    copies.emplace(name, tie.original());
    if (tie.any_apart() && (reference_says == true || !in_reference)) {
      untied = true;
      const nlohmann::json& config = reference.config();
      if (config.contains("is_encoder_decoder") && config["is_encoder_decoder"] == true) {
        throw ConfigError(
            "'" + name + "' is tied to '" + tie.original() + "' in '" + reference.name() +
            "', but another model has one of its own, and models with encoder and decoder cannot be "
            "untied without computing otherwise; merge models that are tied alike");
      }
    }
  }
  for (std::unique_ptr<ModelSource>* owner : owners) {
    std::set<std::string> without;
    std::map<std::string, std::string> with;
    for (const std::string& name : hidden) {
      if (find_tensor(**owner, name) != nullptr) {
        without.insert(name);
      }
    }
    for (const auto& [name, original] : copies) {
      if (find_tensor(**owner, name) == nullptr) {
        with.emplace(name, original);
      }
    }
    if (!without.empty() || !with.empty()) {
      *owner = std::make_unique<TiedView>(std::move(*owner), without, with);
    }
  }
  return untied;
}

}  // namespace fusegrid
