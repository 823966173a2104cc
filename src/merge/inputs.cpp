#include "merge/inputs.h"

#include <algorithm>
#include <set>

#include <sys/stat.h>

#include "checkpoint/buffers.h"
#include "checkpoint/checks.h"
#include "checkpoint/model_spec.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"
#include "merge/heads.h"
#include "merge/prefix.h"
#include "merge/small_files.h"
#include "merge/tied.h"
#include "merge/vocabulary.h"

namespace fusegrid {
namespace {

constexpr size_t kNamesShown = 4;

// Merged tensors of `model` that `other` lacks.
std::vector<std::string> lacking(const ModelSource& model, const ModelSource& other) {
  std::vector<std::string> names;
  for (const TensorInfo& info : model.tensors()) {
    if (is_merged(info) && find_tensor(other, info.name) == nullptr) {
      names.push_back(info.name);
    }
  }
  return names;
}

void check_names(const ModelSource& reference, const ModelSource& expert) {
  const std::vector<std::string> missing = lacking(reference, expert);
  const std::vector<std::string> extra = lacking(expert, reference);
  if (missing.empty() && extra.empty()) {
    return;
  }
  throw ConfigError("all models must have the same tensors, but '" + expert.name() + "'" +
                    (missing.empty() ? "" : " lacks " + some_names(missing, kNamesShown)) +
                    (!missing.empty() && !extra.empty() ? " and" : "") +
                    (extra.empty() ? "" : " has also " + some_names(extra, kNamesShown)) +
                    ", compared with '" + reference.name() + "'; merge fine-tunes of one base");
}

void check_tensors(const ModelSource& reference, const ModelSource& expert) {
  const VocabularyDifference vocabulary(reference, expert);
  for (const TensorInfo& info : expert.tensors()) {
    const TensorInfo* const found = find_tensor(reference, info.name);
    if (found == nullptr) {
      continue;  // a buffer
    }
    const TensorInfo& own = *found;
    if (is_merged(info) != is_merged(own)) {
      throw ConfigError(
          "tensor '" + info.name + "' must be of floating type in all models or in none, but it is " +
          at::toString(info.dtype) + " in '" + expert.name() + "' and " + at::toString(own.dtype) + " in '" +
          reference.name() + "' (a quantised checkpoint? dequantise it first)");
    }
    if (info.shape != own.shape) {
      throw ConfigError("tensor '" + info.name + "' must have one shape in all models, but it has " +
                        shape_text(info.shape) + " in '" + expert.name() + "' and " + shape_text(own.shape) +
                        " in '" + reference.name() + "'" + vocabulary.hint(own, info));
    }
  }
}

// Complex numbers are no buffers to copy, and no method computes in them.
void check_real(const ModelSource& model) {
  for (const TensorInfo& info : model.tensors()) {
    if (at::isComplexType(info.dtype) && !is_computed(info)) {
      throw ConfigError("tensor '" + info.name + "' of '" + model.name() + "' has complex numbers (" +
                        at::toString(info.dtype) +
                        "), which no method can merge; store real and imaginary parts apart");
    }
  }
}

// The weight files of a folder, by identity: hard links and symbolic links to one file are the same.
std::set<std::pair<dev_t, ino_t>> weight_files(const std::filesystem::path& folder) {
  std::set<std::pair<dev_t, ino_t>> files;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    struct stat status {};
    if (entry.path().extension() == ".safetensors" && ::stat(entry.path().c_str(), &status) == 0) {
      files.emplace(status.st_dev, status.st_ino);
    }
  }
  return files;
}

void check_experts(const MergeSpec& spec) {
  std::set<std::string> names;
  std::map<std::string, std::string> folders;
  std::map<std::set<std::pair<dev_t, ino_t>>, std::string> weights;
  for (const MergeExpert& expert : spec.experts) {
    if (!names.insert(expert.name).second) {
      throw ConfigError("experts must have names of their own, but two are called '" + expert.name +
                        "'; write --expert another-name=" + expert.path.string());
    }
    std::error_code missing;
    const std::string real = std::filesystem::canonical(expert.path, missing).string();
    if (spec.is_component) {
      continue;  // pipelines may share what they did not train
    }
    if (!missing && !folders.emplace(real, expert.name).second) {
      throw ConfigError("every expert must be given once, but '" + real + "' is both '" + folders.at(real) +
                        "' and '" + expert.name + "'; give it once, with a larger weight if that is meant");
    }
    const auto files = weight_files(expert.path);
    if (!files.empty() && !weights.emplace(files, expert.name).second) {
      throw ConfigError("every expert must be given once, but '" + expert.name + "' and '" +
                        weights.at(files) +
                        "' are the same files (links); give it once, with a larger weight if that is meant");
    }
  }
}

nlohmann::json files_of(const std::filesystem::path& folder) {
  nlohmann::json files = nlohmann::json::object();
  const auto add = [&](const std::filesystem::path& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      files[file.filename().string()] = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    }
  };
  if (!std::filesystem::is_directory(folder)) {
    add(folder);  // a file of LoRA factors
    return files;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    add(entry.path());
  }
  return files;
}

}  // namespace

nlohmann::json stamp_of(const std::filesystem::path& text) {
  const auto model = parse_model(text.string());
  nlohmann::json stamp = {{"path", model->identity()}};
  for (const std::filesystem::path& folder : model->folders()) {
    stamp["folders"].push_back(files_of(folder));
  }
  return stamp;
}

namespace {

// Gives all models the vocabulary that the result is to have.
void align(const MergeSpec& spec, MergeInputs& inputs) {
  std::vector<AlignedModel> models;
  if (inputs.base) {
    models.push_back({&inputs.base, parse_model(spec.base->string())->folders()});
  }
  for (size_t i = 0; i < inputs.experts.size(); ++i) {
    models.push_back({&inputs.experts[i], parse_model(spec.experts[i].path.string())->folders()});
  }
  inputs.tokens = output_tokens(*spec.vocabulary, spec.reading());
  align_vocabularies(spec, *inputs.tokens, models);
  for (const std::string part : {"/vocab_size", "/text_config/vocab_size"}) {
    const nlohmann::json::json_pointer place(part);
    if (inputs.config.contains(place)) {
      inputs.config[place] = inputs.tokens->rows;
    }
  }
}

}  // namespace

MergeInputs open_inputs(const MergeSpec& spec, const LocalInputs* local) {
  check_experts(spec);
  MergeInputs inputs;
  inputs.stamps = nlohmann::json::array();
  if (spec.base) {
    inputs.base = open_model(*spec.base, nullptr, spec.reading());
    inputs.stamps.push_back(stamp_of(*spec.base));
  }
  for (size_t i = 0; i < spec.experts.size(); ++i) {
    const auto& path = spec.experts[i].path;
    inputs.experts.push_back(local != nullptr ? local->expert(i)
                                              : open_model(path, inputs.base.get(), spec.reading()));
    inputs.stamps.push_back(local != nullptr ? local->stamp(i) : stamp_of(path));
    if (local != nullptr) {
      inputs.holders.push_back(local->holder(i));
    }
  }
  const auto reference = parse_model((spec.base ? *spec.base : spec.experts.front().path).string());
  inputs.config = reference->config(spec.reading());
  inputs.folder = reference->folders().front();
  inputs.has_weight_files = reference->is_folder();
  std::vector<std::unique_ptr<ModelSource>*> models;
  if (inputs.base) {
    models.push_back(&inputs.base);
  }
  for (auto& expert : inputs.experts) {
    models.push_back(&expert);
  }
  for (size_t i = 1; i < models.size(); ++i) {
    *models[i] = with_names_of(inputs.reference(), std::move(*models[i]), inputs.notes);
  }
  if (make_ties_alike(models)) {
    set_untied(inputs.config);
  }
  take_heads_apart(models, spec.allow_head_mismatch, inputs.notes);
  if (spec.vocabulary) {
    align(spec, inputs);
  }
  const ModelSource& ours = inputs.reference();
  check_real(ours);
  for (auto& expert : inputs.experts) {
    if (expert.get() == &ours) {
      continue;
    }
    check_real(*expert);
    check_names(ours, *expert);
    if (spec.allow_vocabulary_mismatch) {
      expert = with_vocabulary_of(ours, std::move(expert));
    }
    check_tensors(ours, *expert);
  }
  return inputs;
}

StreamModels MergeInputs::models(bool with_base, std::optional<at::ScalarType> dtype) const {
  StreamModels models;
  models.base = with_base ? base.get() : nullptr;
  for (const auto& expert : experts) {
    models.experts.push_back(expert.get());
  }
  for (const TensorInfo& info : reference().tensors()) {
    if (is_merged(info)) {
      models.tensors.push_back(info);
      models.tensors.back().dtype = dtype.value_or(info.dtype);
    }
  }
  return models;
}

}  // namespace fusegrid
