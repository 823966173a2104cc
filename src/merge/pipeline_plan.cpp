#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>

#include "checkpoint/contained_folder.h"
#include "checkpoint/lora_file.h"
#include "checkpoint/lora_file_expert.h"
#include "checkpoint/lossless_json.h"
#include "checkpoint/missing_weights.h"
#include "checkpoint/pipeline_folder.h"
#include "checkpoint/weight_files.h"
#include "core/alternatives.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "merge/manifest.h"
#include "merge/output_folder.h"
#include "merge/pipeline.h"
#include "merge/tokenizers.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

constexpr size_t kShownNames = 8;
constexpr auto kPipelineIndexFile = "model_index.json";
constexpr uint64_t kMaxPipelineFileBytes = uint64_t{16} << 20;

// An expert: a pipeline, or a file of LoRA factors.
struct PipelineExpert {
  std::string name;
  std::optional<PipelineFolder> pipeline;
  fs::path lora;
  std::set<std::string> changes = {};  // the components that the file changes
};

// Denoisers and text encoders are what fine-tuning changes; what turns pictures into latents and judges them is not.
bool is_merged_by_default(const std::string& component) {
  static const std::vector<std::string> starts{"unet", "transformer", "prior", "decoder", "text_encoder"};
  return std::any_of(starts.begin(), starts.end(),
                     [&](const std::string& start) { return component.starts_with(start); });
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Those of the base that the file changes. ConfigError where the base lacks one.
std::set<std::string> changed_components(const fs::path& file, const PipelineFolder& base) {
  const std::vector<std::string> networks = base.networks();
  std::set<std::string> changed;
  for (const auto& [component, part] : lora_file_parts(SafetensorsFile(file))) {
    const auto found = component == kDenoiser ? std::find_if(networks.begin(), networks.end(), is_denoiser)
                                              : std::find(networks.begin(), networks.end(), component);
    if (found == networks.end()) {
      throw ConfigError(
          "a LoRA file must change components of the base, but '" + file.string() + "' changes " +
          (component == kDenoiser ? "a denoiser (unet, transformer)" : "'" + component + "'") + " and '" +
          base.path.string() + "' has " + join(networks, ", ") + "; give the base that it was trained on");
    }
    changed.insert(*found);
  }
  return changed;
}

class PipelinePlanner {
 public:
  explicit PipelinePlanner(const MergeSpec& spec)
      : reference_(spec.base ? *spec.base : spec.experts.front().path, spec.reading()) {
    plan_.spec = spec;
  }

  PipelinePlan plan() {
    check_options();
    check_output_folder(spec().out, false);
    check_partial_folder();
    open_experts();
    choose_components();
    check_experts_change_something();
    check_kept();
    for (const std::string& component : merged_) {
      check_classes(component);
    }
    for (const std::string& component : merged_) {
      plan_.merged.push_back(plan_part(component));
    }
    copy_rest();
    note_differences();
    int64_t bytes = 0;
    for (const auto& part : plan_.merged) {
      bytes += part.plan.write_bytes;
      for (const std::string& note : part.plan.notes) {
        plan_.notes.push_back(part.component + ": " + note);
      }
    }
    for (const auto& [name, file] : plan_.copied) {
      bytes += static_cast<int64_t>(fs::file_size(file)) *
               static_cast<int64_t>(plan_.merged.front().plan.outputs.size());
    }
    check_free_space(spec().out, bytes);
    return std::move(plan_);
  }

 private:
  const MergeSpec& spec() const { return plan_.spec; }
  fs::path components_folder() const { return spec().out.string() + ".partial/components"; }

  void check_options() const {
    if (spec().inputs_are_local) {
      throw ConfigError(
          "pipelines must lie where all ranks see them, but --inputs-are is local; merge their "
          "components one by one, or copy them to a shared disk");
    }
    if (spec().tokenizer_from) {
      throw ConfigError(
          "the tokenizers of a pipeline are components, so --tokenizer-from does not choose among "
          "them; write --keep tokenizer=" +
          *spec().tokenizer_from);
    }
  }

  void check_partial_folder() const {
    const fs::path partial = spec().out.string() + ".partial";
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(partial, none)) {
      const std::string name = entry.path().filename().string();
      if (name != "components" && name != "result") {
        throw ConfigError("'" + partial.string() +
                          "' is where the merge is made, but something else is there ('" + name +
                          "'); remove it, or choose another --out");
      }
    }
  }

  void open_experts() {
    std::map<fs::path, std::string> places;
    for (const MergeExpert& expert : spec().experts) {
      PipelineExpert& opened = experts_.emplace_back(PipelineExpert{expert.name, std::nullopt, {}});
      if (is_pipeline(expert.path)) {
        opened.pipeline.emplace(expert.path, spec().reading());
      } else if (const auto file = lora_file_at(expert.path, spec().reading())) {
        opened.lora = *file;
        opened.changes = changed_components(*file, reference_);
      } else {
        throw ConfigError(
            "an expert of a pipeline must be a pipeline (a folder with model_index.json) or a "
            ".safetensors file of LoRA factors, but '" +
            expert.path.string() +
            "' is neither; to merge one component alone, give its folders, as "
            "--base " +
            (reference_.path / "unet").string());
      }
      std::error_code missing;
      const fs::path place = fs::canonical(opened.pipeline ? expert.path : opened.lora, missing);
      if (!places.emplace(place, expert.name).second) {
        throw ConfigError("every expert must be given once, but '" + place.string() + "' is both '" +
                          places.at(place) + "' and '" + expert.name +
                          "'; give it once, with a larger weight if that is meant");
      }
    }
  }

  void choose_components() {
    const std::vector<std::string> networks = reference_.networks();
    std::set<std::string> kept;
    for (const KeptComponent& keep : spec().keep) {
      check_component("--keep", keep.component, reference_.names());
      kept.insert(keep.component);
    }
    if (!spec().components) {
      std::copy_if(
          networks.begin(), networks.end(), std::back_inserter(merged_),
          [&](const std::string& name) { return is_merged_by_default(name) && !kept.contains(name); });
    } else {
      for (const std::string& component : *spec().components) {
        check_component("--components", component, networks);
        if (kept.contains(component) || has(merged_, component)) {
          throw ConfigError("a component must be named once, in --components or in --keep, but '" +
                            component + "' is named twice; remove one");
        }
        merged_.push_back(component);
      }
    }
    std::sort(merged_.begin(), merged_.end());
    if (merged_.empty()) {
      throw ConfigError("a merge must merge some component of '" + reference_.path.string() +
                        "', but all are kept; name some in --components: " + join(networks, ", "));
    }
  }

  void check_component(const std::string& option, const std::string& name,
                       const std::vector<std::string>& known) const {
    if (has(known, name)) {
      return;
    }
    const bool plain = has(reference_.names(), name);
    throw ConfigError(option + " must name components of '" + reference_.path.string() + "'" +
                      (plain ? ", but '" + name + "' has no weights; it is kept without being named"
                             : ", but there is no '" + name + "'" + alternatives(name, known)));
  }

  void check_experts_change_something() {
    for (const PipelineExpert& expert : experts_) {
      std::vector<std::string> kept;
      std::copy_if(expert.changes.begin(), expert.changes.end(), std::back_inserter(kept),
                   [&](const std::string& component) { return !has(merged_, component); });
      if (expert.pipeline || kept.empty()) {
        continue;
      }
      const std::string text = "'" + expert.lora.string() + "' changes " + join(kept, ", ");
      if (kept.size() == expert.changes.size()) {
        throw ConfigError("every expert must change something that is merged, but " + text +
                          ", which is kept; add it to --components, or leave the expert out");
      }
      plan_.notes.push_back(text + ", which is kept: that part of it has no effect");
    }
  }

  // The pipeline that a component which is not merged comes from.
  const PipelineFolder& owner_of(const KeptComponent& keep) const {
    if (keep.expert.empty()) {
      return reference_;
    }
    std::vector<std::string> names;
    for (const PipelineExpert& expert : experts_) {
      if (expert.name == keep.expert && !expert.pipeline) {
        throw ConfigError("--keep must take a component from a pipeline, but '" + keep.expert +
                          "' is a LoRA file; leave '=" + keep.expert + "' out, or merge the component");
      }
      if (expert.name == keep.expert) {
        return *expert.pipeline;
      }
      names.push_back(expert.name);
    }
    throw ConfigError("--keep must name an expert behind '=', but there is no '" + keep.expert + "'" +
                      alternatives(keep.expert, names));
  }

  void check_kept() {
    for (const KeptComponent& keep : spec().keep) {
      const PipelineFolder& owner = owner_of(keep);
      if (!owner.components.contains(keep.component)) {
        throw ConfigError("--keep must name a component that '" + owner.path.string() +
                          "' has, but it has no '" + keep.component + "'" +
                          alternatives(keep.component, owner.names()));
      }
      if (!owners_.emplace(keep.component, &owner).second) {
        throw ConfigError("--keep must name a component once, but it names '" + keep.component +
                          "' twice; remove one");
      }
    }
  }

  void check_classes(const std::string& component) const {
    const PipelineComponent& own = reference_.components.at(component);
    for (const PipelineExpert& expert : experts_) {
      if (!expert.pipeline) {
        continue;
      }
      const auto& theirs = expert.pipeline->components;
      const auto found = theirs.find(component);
      const std::string advice = "; give fine-tunes of one base, or keep it: --keep " + component;
      if (found == theirs.end() || !found->second.has_weights) {
        throw ConfigError("a component that is merged must be in all pipelines, but '" +
                          expert.pipeline->path.string() + "' has no '" + component +
                          "' with weights (it has " + join(expert.pipeline->networks(), ", ") + ")" + advice);
      }
      if (found->second.library != own.library || found->second.class_name != own.class_name) {
        throw ConfigError("a component must be of one class in all pipelines, but '" + component + "' is " +
                          found->second.library + "." + found->second.class_name + " in '" +
                          expert.pipeline->path.string() + "' and " + own.library + "." + own.class_name +
                          " in '" + reference_.path.string() + "'" + advice);
      }
    }
  }

  PipelinePlan::Part plan_part(const std::string& component) const {
    MergeSpec own = spec();
    own.components.reset();
    own.keep.clear();
    own.is_component = true;
    own.out = components_folder() / component;
    if (own.base) {
      own.base = *own.base / component;
    }
    for (size_t i = 0; i < experts_.size(); ++i) {
      own.experts[i].path = experts_[i].pipeline
                                ? experts_[i].pipeline->path / component
                                : fs::path(experts_[i].lora.string() + "[" + component + "]");
    }
    if (!fs::exists(own.out)) {
      return {component, plan_merge(own)};
    }
    const fs::path there = own.out;
    own.out += ".again";  // a plan wants a new folder; nothing is written
    PipelinePlan::Part part{component, plan_merge(own)};
    part.plan.spec.out = there;
    const auto identity = identity_in_manifest(there / part.plan.outputs.front().folder);
    if (identity && *identity != sha256_hex(part.plan.identity)) {
      throw ConfigError(
          "'" + spec().out.string() +
          ".partial' holds an unfinished merge of other inputs, methods or options; finish that one "
          "with its own command, or remove the folder");
    }
    part.is_made = identity.has_value();
    return part;
  }

  void copy_rest() {
    nlohmann::json index = ContainedFolder(reference_.path, true, spec().follow_links)
                               .read_json(kPipelineIndexFile, kMaxPipelineFileBytes);
    std::set<fs::path> components{spec().out, spec().out.string() + ".partial"};
    bool other_classes = false;
    for (const auto& [name, own] : reference_.components) {
      components.insert(reference_.path / name);
      if (has(merged_, name)) {
        continue;
      }
      const auto kept = owners_.find(name);
      const PipelineFolder& owner = kept == owners_.end() ? reference_ : *kept->second;
      const PipelineComponent& taken = owner.components.at(name);
      other_classes |= taken.library != own.library || taken.class_name != own.class_name;
      index[name] = {taken.library, taken.class_name};
      copy_component(owner.path / name, name, taken.has_weights);
      if (taken.has_weights) {
        plan_.kept.emplace(name, (owner.path / name).string());
      }
    }
    take(small_files_of(reference_.path, spec().reading(), components), reference_.path, "");
    if (other_classes) {
      plan_.made[kPipelineIndexFile] = dump_lossless(index, 2) + "\n";
    }
    plan_.copied.erase(kPipelineFile);  // of a merge that is itself merged
  }

  void copy_component(const fs::path& folder, const std::string& name, bool has_weights) {
    take(small_files_of(folder, spec().reading(), {}), folder, name + "/");
    const ContainedFolder files(folder, true, spec().follow_links);
    if (files.contains("config.json")) {
      plan_.copied.emplace(name + "/config.json", files.resolve("config.json"));
    }
    if (!has_weights) {
      return;
    }
    for (const std::string& file : weight_file_names(files)) {
      if (!files.contains(file)) {
        fail_without_weights(folder);
      }
      plan_.copied.emplace(name + "/" + file, files.resolve(file));
    }
  }

  void take(const SmallFiles& small, const fs::path& folder, const std::string& below) {
    for (const auto& [name, file] : small.files) {
      plan_.copied.emplace(below + name, file);
    }
    if (!small.left_out.empty()) {
      plan_.notes.push_back("of '" + folder.string() + "' the result lacks " +
                            some_names(small.left_out, kShownNames));
    }
  }

  // Of a component's settings, or null.
  nlohmann::json settings(const fs::path& folder, const std::string& file) const {
    const ContainedFolder files(folder, true, spec().follow_links);
    return files.contains(file) ? files.read_json(file, kMaxPipelineFileBytes) : nlohmann::json();
  }

  // What makes networks of one shape compute differently, and tokens stand for other texts.
  void note_differences() {
    std::vector<std::string> kept;
    for (const auto& [name, from] : plan_.kept) {
      kept.push_back(name + " ('" + from + "')");
    }
    if (!kept.empty()) {
      plan_.notes.push_back("merged: " + join(merged_, ", ") + "; not merged but kept: " + join(kept, ", ") +
                            " (--components chooses)");
    }
    for (const PipelineExpert& expert : experts_) {
      if (!expert.pipeline) {
        continue;
      }
      for (const std::string& component : merged_) {
        note_settings(*expert.pipeline, component);
      }
      note_prediction(*expert.pipeline);
    }
    for (const auto& [name, component] : reference_.components) {
      if (name.starts_with("tokenizer") && !owners_.contains(name)) {
        note_tokenizer(name);
      }
    }
  }

  void note_settings(const PipelineFolder& expert, const std::string& component) {
    const nlohmann::json ours = settings(reference_.path / component, "config.json");
    const nlohmann::json theirs = settings(expert.path / component, "config.json");
    static const std::set<std::string> without_effect{"torch_dtype", "dtype", "transformers_version",
                                                      "use_cache"};
    std::vector<std::string> keys;
    for (const auto& [key, value] : ours.items()) {
      if (!key.starts_with("_") && !without_effect.contains(key) && theirs.contains(key) &&
          theirs.at(key) != value) {
        keys.push_back(key + " (" + theirs.at(key).dump() + ", not " + value.dump() + ")");
      }
    }
    if (!keys.empty()) {
      plan_.notes.push_back(component + ": config.json of '" + expert.path.string() + "' has another " +
                            some_names(keys, kShownNames) + "; the result has that of '" +
                            reference_.path.string() + "'");
    }
  }

  // A network that predicts noise and one that predicts velocities have one shape.
  void note_prediction(const PipelineFolder& expert) {
    constexpr auto kScheduler = "scheduler";
    if (!reference_.components.contains(kScheduler) || !expert.components.contains(kScheduler)) {
      return;
    }
    const auto prediction = [&](const PipelineFolder& pipeline) {
      const nlohmann::json all = settings(pipeline.path / kScheduler, "scheduler_config.json");
      return all.is_object() ? all.value("prediction_type", nlohmann::json()) : nlohmann::json();
    };
    const nlohmann::json ours = prediction(reference_);
    const nlohmann::json theirs = prediction(expert);
    if (!ours.is_null() && !theirs.is_null() && ours != theirs) {
      plan_.notes.push_back(
          "'" + expert.path.string() + "' predicts " + theirs.dump() + " and '" + reference_.path.string() +
          "' " + ours.dump() +
          " (prediction_type of the scheduler): networks that predict different things do not "
          "average");
    }
  }

  void note_tokenizer(const std::string& component) {
    std::vector<TokenizerOwner> owners;
    for (const PipelineExpert& expert : experts_) {
      if (expert.pipeline) {
        owners.push_back({expert.name, expert.pipeline->path / component});
      }
    }
    for (std::string& note :
         tokenizer_notes({(reference_.path / component).string(), reference_.path / component}, owners,
                         std::string("none"), spec().reading())) {
      plan_.notes.push_back(component + ": " + std::move(note));
    }
  }

  PipelinePlan plan_;
  PipelineFolder reference_;
  std::vector<PipelineExpert> experts_;
  std::vector<std::string> merged_;
  std::map<std::string, const PipelineFolder*> owners_;  // of what --keep names
};

}  // namespace

bool merges_pipeline(const MergeSpec& spec) {
  return is_pipeline(spec.base ? *spec.base : spec.experts.front().path);
}

PipelinePlan plan_pipeline(const MergeSpec& spec) {
  return PipelinePlanner(spec).plan();
}

}  // namespace fusegrid
