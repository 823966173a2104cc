#include "merge/adapter/adapter_inputs.h"

#include <algorithm>

#include "checkpoint/adapter_files.h"
#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/ia3_expert.h"
#include "checkpoint/lora_changes.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/model_spec.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid::adapters {
namespace {

constexpr size_t kNamesShown = 4;

// The vectors of an (IA)^3 adapter by the names that they have among AdapterInputs::base; 1 where it has none.
class Ia3Vectors final : public ModelSource {
 public:
  Ia3Vectors(std::string name, std::shared_ptr<const Ia3File> file, const ModelSource& ones)
      : name_(std::move(name)), file_(std::move(file)), ones_(ones) {}

  std::string name() const override { return name_; }
  const std::vector<TensorInfo>& tensors() const override { return ones_.tensors(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const std::string module = name.substr(0, name.size() - std::string(kIa3Vector).size());
    const auto vector = file_->vectors().find(module);
    if (vector == file_->vectors().end()) {
      ones_.read_range(name, begin, count, destination);
      return;
    }
    const auto values = file_->read(vector->second);
    std::copy_n(values.begin() + begin, count, static_cast<float*>(destination));
  }
  void check_unchanged() const override { file_->file().check_unchanged(); }

 private:
  std::string name_;
  std::shared_ptr<const Ia3File> file_;
  const ModelSource& ones_;
};

nlohmann::json config_of(const MergeExpert& adapter, const HfFolderOptions& options) {
  const ContainedFolder folder(adapter.path, options.allow_symlinks, options.follow_links);
  if (!folder.contains(kAdapterConfig)) {
    throw ConfigError("'" + adapter.path.string() + "' is no adapter, since it has no " + kAdapterConfig +
                      "; merge whole models with 'fusegrid merge', or extract adapters from them first "
                      "('fusegrid adapter extract')");
  }
  return read_adapter_config(folder);
}

AdapterInputs::Kind kind_of(const MergeExpert& adapter, const nlohmann::json& config) {
  const auto type = config.is_object() ? config.value("peft_type", nlohmann::json()) : nlohmann::json();
  if (type == "LORA" || type == "IA3") {
    return type == "IA3" ? AdapterInputs::Kind::kIa3 : AdapterInputs::Kind::kLora;
  }
  throw ConfigError("'" + (adapter.path / kAdapterConfig).string() +
                    "': peft_type must be LORA or IA3, but it is " +
                    (type.is_string() ? type.get<std::string>() : type.dump()) +
                    "; other adapters are not merged as adapters: make whole models of them with PEFT's "
                    "merge_and_unload, and merge these");
}

// What one adapter changes, by tensor: shape, and whether it is an embedding.
using Shapes = std::map<std::string, std::vector<int64_t>>;

void refuse_saved(const MergeExpert& adapter, std::vector<std::string> saved, const AdapterReading& reading,
                  std::vector<std::string>& notes) {
  if (saved.empty()) {
    return;
  }
  if (!reading.drop_saved) {
    throw ConfigError(
        "adapters are merged by what they learnt of modules, but '" + adapter.name +
        "' also holds tensors whole (modules_to_save, biases): " + some_names(saved, kNamesShown) +
        "; leave these out with --drop-saved, or merge whole models with 'fusegrid merge'");
  }
  notes.push_back("of '" + adapter.name + "' the result lacks " + some_names(saved, kNamesShown));
}

// Adds what an adapter changes to `all`.
void add_shapes(Shapes& all, const Shapes& own, const MergeExpert& adapter,
                const std::map<std::string, std::string>& owner) {
  const bool shares = all.empty() || std::any_of(own.begin(), own.end(), [&](const auto& tensor) {
                        return all.contains(tensor.first);
                      });
  if (!shares) {
    throw ConfigError("adapters must be of one base, but '" + adapter.name +
                      "' changes no module that the others change (they have '" + all.begin()->first +
                      "', it has '" + own.begin()->first + "'); merge adapters of one base");
  }
  for (const auto& [name, shape] : own) {
    const auto [place, is_new] = all.emplace(name, shape);
    if (!is_new && place->second != shape) {
      throw ConfigError("adapters must be of one base, but '" + name + "' is " + shape_text(place->second) +
                        " in '" + owner.at(name) + "' and " + shape_text(shape) + " in '" + adapter.name +
                        "'; merge adapters of one base");
    }
  }
}

// What an adapter lacks of what the others change.
void note_missing(const Shapes& all, const std::vector<Shapes>& own, AdapterInputs& inputs,
                  const std::string& counts_as) {
  for (size_t i = 0; i < own.size(); ++i) {
    std::vector<std::string> missing;
    for (const auto& [name, shape] : all) {
      if (!own[i].contains(name)) {
        missing.push_back(name);
      }
    }
    if (!missing.empty()) {
      inputs.same_modules = false;
      inputs.notes.push_back("'" + inputs.adapters[i].name + "' does not change " +
                             some_names(missing, kNamesShown) + ", which counts as " + counts_as);
    }
  }
}

std::vector<TensorInfo> infos_of(const Shapes& shapes) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, shape] : shapes) {
    infos.push_back({name, shape, at::kFloat});
  }
  return infos;
}

Shapes lora_shapes(const MergeExpert& adapter, const nlohmann::json& config, const AdapterReading& reading,
                   AdapterInputs& inputs) {
  const SafetensorsFile file(open_adapter_weights(
      ContainedFolder(adapter.path, reading.files.allow_symlinks, reading.files.follow_links)));
  const bool turned = config.value("fan_in_fan_out", nlohmann::json(false)) == true;
  inputs.fan_in_fan_out |= turned;
  Shapes shapes;
  std::vector<std::string> saved;
  for (const auto& [name, change] : lora_changes(file)) {
    if (!change.copy.empty()) {
      saved.push_back(name);
    }
    if (change.module.empty()) {
      continue;
    }
    if (!change.copy.empty()) {
      throw ConfigError("'" + adapter.name + "' holds '" + name +
                        "' whole and has factors of it as well, which no adapter merge can join; merge whole "
                        "models with 'fusegrid merge'");
    }
    const FactorShape shape = factor_shape(file, change);
    inputs.largest_rank = std::max(inputs.largest_rank, shape.rank);
    if (change.embedding) {
      inputs.embeddings.insert(name);
    }
    shapes.emplace(name, turned || change.embedding ? std::vector<int64_t>{shape.in, shape.out}
                                                    : std::vector<int64_t>{shape.out, shape.in});
  }
  refuse_saved(adapter, saved, reading, inputs.notes);
  if (shapes.empty()) {
    throw ConfigError("'" + adapter.name + "' has no factors of modules, so there is nothing to merge");
  }
  return shapes;
}

Shapes ia3_shapes(const MergeExpert& adapter, const Ia3File& file, const AdapterReading& reading,
                  AdapterInputs& inputs) {
  std::vector<std::string> saved;
  for (const auto& [name, key] : file.copies()) {
    saved.push_back(name);
  }
  refuse_saved(adapter, saved, reading, inputs.notes);
  Shapes shapes;
  for (const auto& [module, vector] : file.vectors()) {
    shapes.emplace(module + kIa3Vector, file.file().info(vector.key).shape);
  }
  return shapes;
}

void note_bases(AdapterInputs& inputs) {
  const auto base_of = [&](size_t i) {
    return inputs.configs[i].value("base_model_name_or_path", nlohmann::json());
  };
  for (size_t i = 1; i < inputs.configs.size(); ++i) {
    if (base_of(i) != base_of(0)) {
      inputs.notes.push_back("the adapters name other bases, " + base_of(0).dump() + " and " +
                             base_of(i).dump() + "; the result names the first, and is for one base alone");
      return;
    }
  }
}

void check_fits(const std::filesystem::path& path, const AdapterInputs& inputs, HfFolderOptions options) {
  const auto base = open_model(path, nullptr, options);
  for (const MergeExpert& adapter : inputs.adapters) {
    open_folder(adapter.path, base.get(), options);
  }
}

}  // namespace

AdapterInputs open_adapters(const std::vector<MergeExpert>& adapters, const AdapterReading& reading) {
  AdapterInputs inputs;
  inputs.adapters = adapters;
  for (const MergeExpert& adapter : adapters) {
    inputs.configs.push_back(config_of(adapter, reading.files));
    const auto kind = kind_of(adapter, inputs.configs.back());
    if (inputs.configs.size() > 1 && kind != inputs.kind) {
      throw ConfigError("adapters must be of one kind, but '" + adapters.front().name + "' is " +
                        inputs.configs.front().at("peft_type").get<std::string>() + " and '" + adapter.name +
                        "' " + inputs.configs.back().at("peft_type").get<std::string>() +
                        "; merge them as whole models with 'fusegrid merge'");
    }
    inputs.kind = kind;
  }
  if (reading.base) {
    check_fits(*reading.base, inputs, reading.files);
  }
  note_bases(inputs);
  const bool lora = inputs.kind == AdapterInputs::Kind::kLora;
  std::vector<std::shared_ptr<const Ia3File>> vectors;
  std::vector<Shapes> own;
  std::map<std::string, std::string> owner;
  Shapes all;
  for (size_t i = 0; i < adapters.size(); ++i) {
    if (lora) {
      own.push_back(lora_shapes(adapters[i], inputs.configs[i], reading, inputs));
    } else {
      vectors.push_back(std::make_shared<const Ia3File>(adapters[i].path, reading.files));
      own.push_back(ia3_shapes(adapters[i], *vectors.back(), reading, inputs));
    }
    add_shapes(all, own.back(), adapters[i], owner);
    for (const auto& [name, shape] : own.back()) {
      owner.emplace(name, adapters[i].name);
    }
  }
  note_missing(all, own, inputs, lora ? "no change" : "ones");
  inputs.base = std::make_unique<ConstantModel>(
      "what '" + adapters.front().path.string() + "' was trained on", infos_of(all), lora ? 0.0F : 1.0F);
  for (size_t i = 0; i < adapters.size(); ++i) {
    if (lora) {
      inputs.experts.push_back(std::make_unique<LoraExpert>(adapters[i].path, *inputs.base, reading.files));
    } else {
      inputs.experts.push_back(
          std::make_unique<Ia3Vectors>(adapters[i].path.string(), vectors[i], *inputs.base));
    }
  }
  return inputs;
}

}  // namespace fusegrid::adapters
