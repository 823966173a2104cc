#include "merge/adapter/adapter_merge.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>

#include "checkpoint/checks.h"
#include "checkpoint/lora_keys.h"
#include "checkpoint/save_folder.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/names.h"
#include "core/text.h"
#include "fusion/method.h"
#include "merge/adapter/peft_combination.h"
#include "merge/merge.h"

namespace fusegrid::adapters {
namespace {

using Updates = std::map<std::string, LowRankUpdate>;

bool is_lora(const AdapterMergePlan& plan) {
  return plan.inputs.kind == AdapterInputs::Kind::kLora;
}

bool is_per_adapter(const MergeMethod& call) {
  return !is_peft_method(call.name) && method_registry().at(call.name).card.yields == Yields::kModelPerTask;
}

std::string canonical(const AdapterMergeSpec& spec) {
  return is_peft_method(spec.method.name)
             ? peft_combination(spec.method.name, spec.method.parameters, spec.adapters.size(),
                                spec.options.seed)
                   .canonical()
             : method_registry().at(spec.method.name).canonical(spec.method.parameters);
}

void check_call(const AdapterMergePlan& plan) {
  const AdapterMergeSpec& spec = plan.spec;
  const std::string& name = spec.method.name;
  if (is_peft_method("peft_" + name) && !method_registry().contains(name)) {
    throw ConfigError("PEFT's combination '" + name + "' is called 'peft_" + name +
                      "' here; 'fusegrid adapter merge --help' lists them");
  }
  if (is_peft_method(name)) {
    const PeftCombination combination =
        peft_combination(name, spec.method.parameters, spec.adapters.size(), spec.options.seed);
    if (is_lora(plan)) {
      check_ranks(plan.inputs, combination);
    }
    if (!is_lora(plan) && name != "peft_linear") {
      throw ConfigError("PEFT combines (IA)^3 adapters by peft_linear alone, but the method is '" + name +
                        "'; take that, or a method of 'fusegrid merge' such as emr");
    }
    if (!is_lora(plan) && !plan.inputs.same_modules) {
      throw ConfigError(
          "peft_linear adds up the vectors themselves, so all (IA)^3 adapters must have them of the same "
          "modules, "
          "but " +
          plan.inputs.notes.back() + " elsewhere; take task_arithmetic, which adds up what was learnt");
    }
    return;
  }
  MergeSpec models;
  models.experts = spec.adapters;
  models.base = "what the adapters were trained on";
  check_method(models, spec.method);
  if (is_lora(plan)) {
    check_merges_updates(spec.method, spec.adapters.size(), spec.options.seed);
  }
}

// Whether the result is what the method makes, without a cut.
bool is_uncut(const MergeMethod& call) {
  return is_peft_method(call.name) && !call.name.ends_with("svd");
}

void check_rank(AdapterMergePlan& plan) {
  RankRule& rule = plan.spec.rule;
  if (!is_lora(plan) || is_uncut(plan.spec.method)) {
    if (rule.rank || rule.energy) {
      throw ConfigError(std::string(is_lora(plan) ? "the rank of the result of '" + plan.spec.method.name +
                                                        "' is that of the factors"
                                                  : "(IA)^3 adapters have no rank") +
                        ", so --rank and --energy have no meaning here; leave them out" +
                        (is_lora(plan) ? ", or take peft_svd" : ""));
    }
    return;
  }
  int64_t largest = 0;
  std::string name;
  for (const TensorInfo& info : plan.inputs.base->tensors()) {
    if (const int64_t side = std::min(info.shape[0], info.shape[1]); side > largest) {
      largest = side;
      name = info.name;
    }
  }
  check_rule(rule, largest, name);
  if (!rule.rank && !rule.energy) {
    rule.rank = std::min(plan.inputs.largest_rank, largest);
  }
}

std::string module_of(const std::string& tensor, const std::string& ending) {
  return tensor.substr(0, tensor.size() - ending.size());
}

// What the first adapter's configuration says, "" where it is silent.
std::string first_says(const AdapterMergePlan& plan, const std::string& key) {
  const auto value = plan.inputs.configs.front().value(key, nlohmann::json());
  return value.is_string() ? value.get<std::string>() : "";
}

LoraAdapter adapter_of(const AdapterMergePlan& plan, const Updates& updates,
                       std::vector<ExtractedModule>& modules) {
  LoraAdapter adapter;
  for (const auto& [name, update] : updates) {
    const LowRankFactors& factors = update.factors;
    modules.push_back({module_of(name, ".weight"),
                       {factors.b.size(0), factors.a.size(1)},
                       factors.a.size(0),
                       update.norm,
                       update.error_norm});
    if (factors.a.size(0) == 0) {
      continue;
    }
    adapter.factors.emplace(name, as_of_layer(factors, plan.inputs.is_turned(name)));
    adapter.targets.push_back(module_of(name, ".weight"));
    if (plan.inputs.embeddings.contains(name)) {
      adapter.embeddings.insert(name);
    }
  }
  if (adapter.factors.empty()) {
    throw ConfigError(
        "the merge changes nothing, so there is no adapter to write; is a weight or a scale 0?");
  }
  set_alpha(adapter.factors, plan.spec.alpha);
  adapter.task_type = first_says(plan, "task_type");
  adapter.fan_in_fan_out = plan.inputs.fan_in_fan_out;
  return adapter;
}

nlohmann::json ia3_config(const AdapterMergePlan& plan, const Weights& vectors, const std::string& base) {
  nlohmann::json config = plan.inputs.configs.front();
  config["inference_mode"] = true;
  config["modules_to_save"] = nullptr;
  config["base_model_name_or_path"] = base;
  const auto says_otherwise = [&](const nlohmann::json& other) {
    return other.value("target_modules", nlohmann::json()) != config["target_modules"] ||
           other.value("feedforward_modules", nlohmann::json()) != config["feedforward_modules"];
  };
  if (std::any_of(plan.inputs.configs.begin(), plan.inputs.configs.end(), says_otherwise)) {
    std::vector<std::string> modules;
    std::vector<std::string> feedforward;
    for (const auto& [name, vector] : vectors) {
      modules.push_back(module_of(name, kIa3Vector));
      if (vector.size(0) == 1 && vector.size(1) != 1) {
        feedforward.push_back(modules.back());
      }
    }
    config["target_modules"] = modules;
    config["feedforward_modules"] = feedforward;
  }
  return config;
}

nlohmann::json record_of_inputs(const AdapterMergePlan& plan) {
  const AdapterMergeSpec& spec = plan.spec;
  nlohmann::json record = {{"format", "fusegrid-adapter"},
                           {"version", 1},
                           {"method", spec.method.name},
                           {"parameters", canonical(spec)},
                           {"seed", spec.options.seed}};
  for (size_t i = 0; i < spec.adapters.size(); ++i) {
    record["adapters"].push_back({{"name", spec.adapters[i].name}, {"path", spec.adapters[i].path.string()}});
  }
  return record;
}

// Writes the adapters of a merge, as files.
class Writer {
 public:
  Writer(const AdapterMergePlan& plan, const nlohmann::json& record)
      : plan_(plan),
        record_(record_of_inputs(plan)),
        base_(plan.spec.base_name.value_or(first_says(plan, "base_model_name_or_path"))) {
    record_.update(record);
  }

  MergedAdapter write(const std::filesystem::path& folder, const Updates& updates) const {
    MergedAdapter merged{.folder = folder, .modules = {}};
    const LoraAdapter adapter = adapter_of(plan_, updates, merged.modules);
    nlohmann::json record = record_;
    record["modules"] = record_of(merged.modules);
    save_lora_folder(folder, adapter, base_, {{kAdapterRecord, record.dump(1) + "\n"}});
    return merged;
  }

  MergedAdapter write(const std::filesystem::path& folder, const Weights& vectors) const {
    check_finite(vectors, "the merge");
    Weights named;
    for (const auto& [name, vector] : vectors) {
      named.emplace(kAdapterRoot + name, vector);
    }
    save_folder(folder,
                {{kAdapterConfig, ia3_config(plan_, vectors, base_).dump(2) + "\n"},
                 {kAdapterRecord, record_.dump(1) + "\n"}},
                {{kAdapterWeights, named}});
    return {.folder = folder, .modules = {}, .vectors = vectors.size()};
  }

  // One result, or one for each adapter in folders of their names; all or none.
  template <typename Result>
  std::vector<MergedAdapter> write_all(const std::vector<Result>& results) const {
    const auto& spec = plan_.spec;
    if (!is_per_adapter(spec.method)) {
      return {write(spec.out, results.front())};
    }
    TemporaryPath all((std::filesystem::absolute(spec.out) / "").parent_path());
    std::vector<MergedAdapter> merged;
    for (size_t i = 0; i < results.size(); ++i) {
      merged.push_back(write(all.path() / spec.adapters[i].name, results[i]));
      merged.back().folder = spec.out / spec.adapters[i].name;
    }
    all.publish();
    return merged;
  }

 private:
  const AdapterMergePlan& plan_;
  nlohmann::json record_;
  std::string base_;
};

// PEFT's weighted sum of the vectors.
Weights weighted_sum(const AdapterInputs& inputs, const PeftCombination& combination) {
  Weights sums;
  for (const TensorInfo& info : inputs.base->tensors()) {
    at::Tensor sum = at::empty(info.shape, at::TensorOptions(at::kFloat)).zero_();
    for (size_t i = 0; i < inputs.experts.size(); ++i) {
      at::Tensor vector = at::empty(info.shape, at::TensorOptions(at::kFloat));
      inputs.experts[i]->read_range(info.name, 0, info.numel(), vector.mutable_data_ptr());
      sum += vector * static_cast<float>(combination.weights[i]);
    }
    sums.emplace(info.name, sum);
  }
  return sums;
}

}  // namespace

double MergedAdapter::relative_error() const {
  double change = 0;
  double lacking = 0;
  for (const ExtractedModule& module : modules) {
    change += module.norm * module.norm;
    lacking += module.error_norm * module.error_norm;
  }
  return change > 0 ? std::sqrt(lacking / change) : 0;
}

nlohmann::json record_of(const std::vector<ExtractedModule>& modules) {
  nlohmann::json all = nlohmann::json::object();
  for (const ExtractedModule& module : modules) {
    all[module.name] = {{"rank", module.rank},
                        {"norm", module.norm},
                        {"relative_error", module.norm > 0 ? module.error_norm / module.norm : 0}};
  }
  return all;
}

AdapterMergePlan plan_adapter_merge(const AdapterMergeSpec& spec) {
  AdapterMergePlan plan{spec, {}};
  std::set<std::string> names;
  std::map<std::filesystem::path, std::string> folders;
  for (const MergeExpert& adapter : spec.adapters) {
    check_name(adapter.name, "the name of an adapter");
    if (!names.insert(adapter.name).second) {
      throw ConfigError("adapters must have names of their own, but two are called '" + adapter.name +
                        "'; write --adapter another-name=" + adapter.path.string());
    }
    std::error_code missing;
    const auto [place, is_new] =
        folders.emplace(std::filesystem::weakly_canonical(adapter.path, missing), adapter.name);
    if (!is_new) {
      throw ConfigError("every adapter must be given once, but '" + adapter.path.string() + "' is both '" +
                        place->second + "' and '" + adapter.name +
                        "'; give it once, with a larger weight if that is meant");
    }
  }
  check_new_folder(spec.out);
  plan.inputs = open_adapters(spec.adapters, spec.reading);
  check_call(plan);
  check_rank(plan);
  return plan;
}

AdapterMergeReport merge_adapters(const AdapterMergePlan& plan, const nlohmann::json& record) {
  const AdapterMergeSpec& spec = plan.spec;
  const Writer writer(plan, record);
  AdapterMergeReport report{.notes = plan.inputs.notes, .adapters = {}};
  const auto check_unchanged = [&] {
    for (const auto& adapter : plan.inputs.experts) {
      adapter->check_unchanged();
    }
  };
  if (is_peft_method(spec.method.name)) {
    const PeftCombination combination =
        peft_combination(spec.method.name, spec.method.parameters, spec.adapters.size(), spec.options.seed);
    if (is_lora(plan)) {
      const std::vector<Updates> updates{combine(plan.inputs, combination, spec.rule, spec.options.threads)};
      check_unchanged();
      report.adapters = writer.write_all(updates);
    } else {
      const std::vector<Weights> vectors{weighted_sum(plan.inputs, combination)};
      check_unchanged();
      report.adapters = writer.write_all(vectors);
    }
  } else if (is_lora(plan)) {
    const auto updates = merge_updates(plan.inputs, spec.method, spec.rule, spec.options);
    check_unchanged();
    report.adapters = writer.write_all(updates);
  } else {
    const auto vectors = merge_vectors(plan.inputs, spec.method, spec.options);
    check_unchanged();
    report.adapters = writer.write_all(vectors);
  }
  return report;
}

}  // namespace fusegrid::adapters
