#include "merge/adapter/extraction.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>

#include "checkpoint/buffers.h"
#include "checkpoint/checks.h"
#include "checkpoint/tied_head.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/parallel.h"
#include "core/role.h"
#include "core/text.h"

namespace fusegrid::adapters {
namespace {

constexpr auto kWeight = ".weight";
constexpr auto kBias = ".bias";
constexpr int64_t kReadElements = int64_t{1} << 22;
constexpr size_t kTensorsShown = 6;

std::string without_ending(const std::string& tensor, const std::string& ending) {
  return tensor.ends_with(ending) ? tensor.substr(0, tensor.size() - ending.size()) : "";
}

std::string last_part(const std::string& module) {
  return module.substr(module.rfind('.') + 1);
}

// Layers of these models store their weights as [in, out]: transformers' Conv1D.
bool stores_in_out(const nlohmann::json& config, const std::string& module) {
  static const std::set<std::string> models{"gpt2", "openai-gpt", "imagegpt", "decision_transformer"};
  static const std::set<std::string> layers{"c_attn", "q_attn", "c_proj", "c_fc"};
  return config.is_object() && models.contains(config.value("model_type", std::string())) &&
         layers.contains(last_part(module));
}

bool is_end_of(const std::string& end, const std::string& module) {
  return module == end || module.ends_with("." + end);
}

at::Tensor read(const ModelSource& model, const TensorInfo& info) {
  at::Tensor values = at::empty(info.shape, info.dtype);
  model.read_range(info.name, 0, info.numel(), values.mutable_data_ptr());
  return values;
}

at::Tensor read(const ModelSource& model, const std::string& name) {
  return read(model, *find_tensor(model, name));
}

// The change of a tensor in float64: the product of the model's own factors where it is stored as such.
at::Tensor change_of(const ModelSource& base, const ModelSource& model, const std::string& name,
                     at::Device device) {
  if (const auto factors = model.factors(name)) {
    return at::matmul(factors->b.to(device).to(at::kDouble), factors->a.to(device).to(at::kDouble)) *
           factors->scale;
  }
  return read(model, name).to(device).to(at::kDouble) - read(base, name).to(device).to(at::kDouble);
}

// The Frobenius norm of the change, in pieces.
double norm_of_change(const ModelSource& base, const ModelSource& model, const TensorInfo& info) {
  const TensorInfo& theirs = *find_tensor(model, info.name);
  double sum = 0;
  for (int64_t begin = 0; begin < info.numel(); begin += kReadElements) {
    const int64_t count = std::min(kReadElements, info.numel() - begin);
    const auto piece = [&](const ModelSource& source, at::ScalarType dtype) {
      at::Tensor values = at::empty({count}, dtype);
      source.read_range(info.name, begin, count, values.mutable_data_ptr());
      return values.to(at::kDouble);
    };
    sum += (piece(model, theirs.dtype) - piece(base, info.dtype)).square().sum().item<double>();
  }
  return std::sqrt(sum);
}

// The modules whose weights get factors, by the names of those.
struct Chosen {
  std::vector<const TensorInfo*> weights;
  std::set<std::string> embeddings;
  bool fan_in_fan_out = false;
};

// Encoder and decoder have an embedding each that is this one, and what PEFT puts upon it reaches neither.
bool is_shared_embedding(const std::string& module) {
  return last_part(module) == "shared";
}

// What can have factors, and why not.
std::string obstacle(const TensorInfo& info) {
  const Role role = role_of(info);
  if (is_shared_embedding(without_ending(info.name, kWeight))) {
    return "PEFT's changes of an embedding that encoder and decoder share reach neither of them";
  }
  if (info.shape.size() == 2 && (role == Role::kMatrix || role == Role::kEmbedding)) {
    return "";
  }
  return "its weight is " + shape_text(info.shape) + ", the " + to_string(role) +
         " of a layer that has no low-rank update";
}

void check_named(const ModelSource& base, const std::vector<std::string>& ends) {
  for (const std::string& end : ends) {
    std::set<std::string> known;
    bool found = false;
    for (const TensorInfo& info : base.tensors()) {
      const std::string module = without_ending(info.name, kWeight);
      if (module.empty()) {
        continue;
      }
      if (obstacle(info).empty()) {
        known.insert(last_part(module));
      }
      if (!is_end_of(end, module)) {
        continue;
      }
      found = true;
      if (const std::string why = obstacle(info); !why.empty()) {
        throw ConfigError("a module of an adapter must be a linear layer or an embedding, but '" + end +
                          "' means '" + module + "', and " + why + "; leave it out");
      }
    }
    if (!found) {
      throw ConfigError("'" + base.name() + "' has no module whose name ends in '" + end + "'" +
                        alternatives(end, {known.begin(), known.end()}));
    }
  }
}

Chosen chosen_modules(const ModelSource& base, const std::vector<std::string>& ends) {
  check_named(base, ends);
  Chosen chosen;
  bool plain = false;
  for (const TensorInfo& info : base.tensors()) {
    const std::string module = without_ending(info.name, kWeight);
    const bool named =
        std::any_of(ends.begin(), ends.end(), [&](const std::string& end) { return is_end_of(end, module); });
    if (module.empty() || !is_merged(info) || !(ends.empty() ? role_of(info) == Role::kMatrix : named) ||
        info.shape.size() != 2) {
      continue;
    }
    chosen.weights.push_back(&info);
    if (role_of(info) == Role::kEmbedding) {
      chosen.embeddings.insert(info.name);
    } else {
      (stores_in_out(base.config(), module) ? chosen.fan_in_fan_out : plain) = true;
    }
  }
  if (chosen.fan_in_fan_out && plain) {  // adapter_config.json has one word for all
    std::erase_if(chosen.weights, [&](const TensorInfo* info) {
      return !chosen.embeddings.contains(info->name) &&
             !stores_in_out(base.config(), without_ending(info->name, kWeight));
    });
  }
  if (chosen.weights.empty()) {
    throw ConfigError("an adapter needs linear layers, but '" + base.name() + "' has none");
  }
  return chosen;
}

// The last parts of the names of the modules where these mean no others, else whole names.
std::vector<std::string> targets_of(const FactorsByName& factors, const ModelSource& base) {
  std::set<std::string> whole;
  std::set<std::string> ends;
  for (const auto& [name, pair] : factors) {
    whole.insert(without_ending(name, kWeight));
    ends.insert(last_part(without_ending(name, kWeight)));
  }
  const bool exact = std::none_of(base.tensors().begin(), base.tensors().end(), [&](const TensorInfo& info) {
    const std::string module = without_ending(info.name, kWeight);
    return !module.empty() && ends.contains(last_part(module)) && !whole.contains(module);
  });
  const std::set<std::string>& chosen = exact ? ends : whole;
  return {chosen.begin(), chosen.end()};
}

// As PEFT calls what the model does; "" for what needs no class of its own.
std::string task_type(const nlohmann::json& config) {
  const auto classes =
      config.is_object() ? config.value("architectures", nlohmann::json()) : nlohmann::json();
  const std::string first =
      classes.is_array() && !classes.empty() && classes[0].is_string() ? classes[0].get<std::string>() : "";
  const bool causal = first.ends_with("ForCausalLM") || first.ends_with("LMHeadModel");
  return causal ? "CAUSAL_LM" : first.ends_with("ForConditionalGeneration") ? "SEQ_2_SEQ_LM" : "";
}

// Makes the adapter of chosen modules.
class Extractor {
 public:
  Extractor(const ModelSource& base, const ModelSource& model, const ExtractionOptions& options)
      : base_(base), model_(model), options_(options), chosen_(chosen_modules(base, options.modules)) {}

  Extraction run() {
    const auto smaller = [](const TensorInfo* info) { return std::min(info->shape[0], info->shape[1]); };
    const TensorInfo* const largest =
        *std::max_element(chosen_.weights.begin(), chosen_.weights.end(),
                          [&](const auto* x, const auto* y) { return smaller(x) < smaller(y); });
    check_rule(options_.rule, smaller(largest), largest->name);
    find_rest();
    factor();
    LoraAdapter& adapter = result_.adapter;
    if (adapter.factors.empty()) {
      throw ConfigError("'" + model_.name() + "' changes none of the modules of '" + base_.name() +
                        "' that are to have factors, so there is no adapter to extract" +
                        (result_.rest.empty() ? "" : "; it changes " + rest_text()));
    }
    set_alpha(adapter.factors, options_.alpha);
    tie_head();
    adapter.targets = targets_of(adapter.factors, base_);
    adapter.task_type = task_type(base_.config());
    adapter.fan_in_fan_out = chosen_.fan_in_fan_out;
    if (options_.rest == Rest::kSave) {
      save_rest();
    }
    return std::move(result_);
  }

 private:
  bool has_factors(const std::string& tensor) const {
    return std::any_of(chosen_.weights.begin(), chosen_.weights.end(),
                       [&](const TensorInfo* info) { return info->name == tensor; });
  }

  void find_rest() {
    for (const TensorInfo& info : base_.tensors()) {
      if (is_merged(info) && !has_factors(info.name)) {
        if (const double norm = norm_of_change(base_, model_, info); norm != 0) {
          if (!std::isfinite(norm)) {
            throw DataError("'" + info.name + "' has NaN or infinity in '" + model_.name() + "' or its base");
          }
          result_.rest.push_back({info.name, norm, options_.rest == Rest::kSave});
        }
      }
    }
    if (options_.rest == Rest::kRefuse && !result_.rest.empty()) {
      throw ConfigError("all changes must be of modules with factors, but '" + model_.name() +
                        "' also changes " + rest_text() +
                        "; let the adapter hold them whole (--rest save) or lack them (--rest drop)");
    }
  }

  std::string rest_text() const {
    std::vector<std::string> names;
    for (const UnfactoredTensor& tensor : result_.rest) {
      names.push_back("'" + tensor.name + "'");
    }
    return some_names(names, kTensorsShown);
  }

  void factor() {
    std::vector<LowRankUpdate> updates(chosen_.weights.size());
    std::mutex mutex;
    size_t done = 0;
    in_parallel(options_.threads, updates.size(), [&](size_t i) {
      at::set_num_threads(1);  // sums must not depend on the number of threads
      const at::NoGradGuard no_gradients;
      const std::string& name = chosen_.weights[i]->name;
      updates[i] = cut_to_rank(change_of(base_, model_, name, options_.device), options_.rule,
                               "the change of '" + name + "' in '" + model_.name() + "'");
      const std::scoped_lock lock(mutex);
      options_.progress(static_cast<double>(++done) / static_cast<double>(updates.size()));
    });
    for (size_t i = 0; i < updates.size(); ++i) {
      const TensorInfo& info = *chosen_.weights[i];
      const int64_t rank = updates[i].factors.a.size(0);
      result_.modules.push_back(
          {without_ending(info.name, kWeight), info.shape, rank, updates[i].norm, updates[i].error_norm});
      if (rank == 0) {
        continue;
      }
      const bool embedding = chosen_.embeddings.contains(info.name);
      result_.adapter.factors.emplace(info.name,
                                      as_of_layer(updates[i].factors, embedding || chosen_.fan_in_fan_out));
      if (embedding) {
        result_.adapter.embeddings.insert(info.name);
      }
    }
  }

  // In PEFT the head of a tied base stays what it was where the embedding has factors, so it gets the same ones.
  void tie_head() {
    const auto tied = tied_embedding(base_);
    LoraAdapter& adapter = result_.adapter;
    if (tied && adapter.embeddings.contains(*tied)) {
      adapter.factors.emplace(kTiedHead, as_of_layer(adapter.factors.at(*tied), true));
    }
  }

  // Whole modules, since PEFT takes no less: the scale and the bias of a norm.
  void save_rest() {
    std::set<std::string> modules;
    for (const UnfactoredTensor& tensor : result_.rest) {
      const std::string of_bias = without_ending(tensor.name, kBias);
      if (!of_bias.empty() && result_.adapter.factors.contains(of_bias + kWeight)) {
        result_.adapter.saved.emplace(tensor.name, read(model_, tensor.name));
        continue;
      }
      const std::string module = of_bias.empty() ? without_ending(tensor.name, kWeight) : of_bias;
      if (module.empty()) {
        throw ConfigError(
            "PEFT holds whole modules, weights and biases, but '" + model_.name() + "' changes '" +
            tensor.name +
            "', which is a parameter beside modules; keep the whole model, or let the adapter lack such "
            "changes ('fusegrid adapter extract --rest drop')");
      }
      if (is_shared_embedding(module)) {
        throw ConfigError(
            "'" + model_.name() + "' changes '" + tensor.name +
            "', which encoder and decoder share, and PEFT's copy of it reaches neither of them; keep the "
            "whole model, or let the adapter lack such changes ('fusegrid adapter extract --rest drop')");
      }
      modules.insert(module);
    }
    const auto tied = tied_embedding(base_);
    if (tied && modules.contains(without_ending(*tied, kWeight))) {
      // PEFT's copy of the embedding leaves the head what it was
      result_.adapter.saved.emplace(kTiedHead, read(model_, *tied));
      result_.adapter.modules_to_save.push_back(without_ending(kTiedHead, kWeight));
    }
    for (const TensorInfo& info : base_.tensors()) {
      const std::string module =
          info.name.ends_with(kBias) ? without_ending(info.name, kBias) : without_ending(info.name, kWeight);
      if (modules.contains(module)) {
        result_.adapter.saved.emplace(info.name, read(model_, info.name));
      }
    }
    result_.adapter.modules_to_save.insert(result_.adapter.modules_to_save.end(), modules.begin(),
                                           modules.end());
  }

  const ModelSource& base_;
  const ModelSource& model_;
  const ExtractionOptions& options_;
  Chosen chosen_;
  Extraction result_;
};

}  // namespace

double Extraction::relative_error() const {
  double change = 0;
  double lacking = 0;
  for (const ExtractedModule& module : modules) {
    change += module.norm * module.norm;
    lacking += module.error_norm * module.error_norm;
  }
  for (const UnfactoredTensor& tensor : rest) {
    change += tensor.norm * tensor.norm;
    lacking += tensor.saved ? 0 : tensor.norm * tensor.norm;
  }
  return change > 0 ? std::sqrt(lacking / change) : 0;
}

Extraction extract_adapter(const ModelSource& base, const ModelSource& model,
                           const ExtractionOptions& options) {
  const at::NoGradGuard no_gradients;
  Extraction extraction = Extractor(base, model, options).run();
  base.check_unchanged();
  model.check_unchanged();
  return extraction;
}

}  // namespace fusegrid::adapters
