#include "merge/heads.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/buffers.h"
#include "checkpoint/checks.h"
#include "core/block_name.h"
#include "core/errors.h"
#include "core/text.h"
#include "merge/relabelled.h"
#include "merge/tied.h"

namespace fusegrid {
namespace {

using Shape = std::vector<int64_t>;

bool is_number(const std::string& part) {
  return !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
}

bool names_an_embedding(const std::string& part) {
  return part.find("embed") != std::string::npos || part == "wte" || part == "wpe" || part == "shared";
}

bool names_a_head(const std::string& part) {
  static const std::set<std::string> of_heads{"classifier",
                                              "cls",
                                              "fc",
                                              "head",
                                              "heads",
                                              "logits",
                                              "logits_proj",
                                              "lm_head",
                                              "pooler",
                                              "qa_outputs",
                                              "score",
                                              "regressor",
                                              "summary",
                                              "sequence_summary",
                                              "vocab_transform",
                                              "vocab_layer_norm",
                                              "vocab_projector",
                                              "generator_predictions",
                                              "discriminator_predictions"};
  return of_heads.contains(part) || part.ends_with("_head") || part.ends_with("_classifier") ||
         part.ends_with("classification_head");
}

// Parts of names that hold the body of a model.
bool names_the_body(const std::string& part) {
  static const std::set<std::string> of_heads{"block", "blocks",      "decoder", "encoder",
                                              "h",     "layer",       "layers",  "model",
                                              "tower", "transformer", "stem",    "vision_model"};
  return of_heads.contains(part) || part.find("norm") != std::string::npos || part.starts_with("ln") ||
         part.ends_with("_tower") || part.ends_with("_model") || part.ends_with("_encoder");
}

// The module of a head that `tensor` belongs to, by its name, or because nothing that the models share lies in the same
// first module.
std::optional<std::string> head_module(const std::string& tensor,
                                       const std::set<std::string>& shared_modules) {
  const bool output = is_output_head(tensor) || is_output_bias(tensor);
  auto parts = split(tensor, '.');
  parts.pop_back();
  parts.erase(std::find_if(parts.begin(), parts.end(), is_number), parts.end());
  if (parts.empty() || (!output && std::any_of(parts.begin(), parts.end(), names_an_embedding))) {
    return std::nullopt;
  }
  const auto named = std::find_if(parts.begin(), parts.end(), names_a_head);
  if (named != parts.end()) {
    const bool several =
        *named == "cls" && named + 1 != parts.end();  // "cls.predictions", "cls.seq_relationship"
    return join({parts.begin(), named + (several ? 2 : 1)}, ".");
  }
  if (output && parts.back() != "decoder" && !block_name(tensor).inside) {
    return join(parts, ".");
  }
  const bool apart =
      !shared_modules.contains(parts.front()) && std::none_of(parts.begin(), parts.end(), names_the_body);
  return apart ? std::optional(parts.front()) : std::nullopt;
}

// A head over the vocabulary, whose rows differ where vocabularies do.
bool is_over_vocabulary(const std::string& tensor) {
  static const std::set<std::string> of_heads{"embed_out", "lm_head", "output", "predictions",
                                              "vocab_projector"};
  const auto parts = split(tensor, '.');
  return std::any_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return of_heads.contains(part); });
}

// Whether a model that stores no output head can have its embedding as one: it is not for another task by its classes.
bool may_be_tied(const ModelSource& model) {
  const auto classes = model.config().find("architectures");
  if (classes == model.config().end() || !classes->is_array() || classes->empty()) {
    return true;
  }
  return std::any_of(classes->begin(), classes->end(), [](const nlohmann::json& name) {
    const std::string text = name.is_string() ? name.get<std::string>() : "";
    return text.find("LM") != std::string::npos || text.ends_with("ForConditionalGeneration") ||
           text.ends_with("ForPreTraining");
  });
}

struct Seen {
  size_t times = 0;
  std::set<Shape> shapes;
};

bool lies_in(const std::string& tensor, const std::set<std::string>& modules) {
  return std::any_of(modules.begin(), modules.end(), [&](const std::string& module) {
    return tensor == module || tensor.starts_with(module + ".");
  });
}

// How the models differ in one tensor: "[3, 4] in 'a' and [2, 4] in 'b'", "in 'a' and not in 'b'".
std::string difference(const std::string& tensor, const std::vector<std::unique_ptr<ModelSource>*>& models) {
  std::vector<std::pair<std::string, std::optional<Shape>>> all;
  for (const auto* model : models) {
    const TensorInfo* const info = find_tensor(**model, tensor);
    all.emplace_back((*model)->name(), info == nullptr ? std::nullopt : std::optional(info->shape));
  }
  const auto has =
      std::find_if(all.begin(), all.end(), [](const auto& one) { return one.second.has_value(); });
  const auto other =
      std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.second != has->second; });
  return other->second ? shape_text(*has->second) + " in '" + has->first + "' and " +
                             shape_text(*other->second) + " in '" + other->first + "'"
                       : "in '" + has->first + "' and not in '" + other->first + "'";
}

}  // namespace

void take_heads_apart(std::vector<std::unique_ptr<ModelSource>*> models, bool allowed,
                      std::vector<std::string>& notes) {
  std::map<std::string, Seen> seen;
  for (const auto* model : models) {
    for (const TensorInfo& info : (*model)->tensors()) {
      if (is_buffer(info)) {
        continue;
      }
      Seen& tensor = seen[info.name];
      ++tensor.times;
      tensor.shapes.insert(info.shape);
    }
  }
  std::set<std::string> shared_modules;
  std::set<std::string> different;
  for (const auto& [name, tensor] : seen) {
    if (tensor.times == models.size() && tensor.shapes.size() == 1) {
      shared_modules.insert(name.substr(0, name.find('.')));
    } else if (tensor.times < models.size() || !is_over_vocabulary(name)) {
      different.insert(name);
    }
  }
  std::set<std::string> heads;
  std::optional<std::string> example;
  bool others = false;
  bool tied = false;  // perhaps: merge/tied.h could not tell
  for (const std::string& name : different) {
    if (const auto module = head_module(name, shared_modules)) {
      heads.insert(*module);
      example = example.value_or(name);
      tied |= is_output_head(name) && std::any_of(models.begin(), models.end(), [&](const auto* model) {
                return find_tensor(**model, name) == nullptr && may_be_tied(**model);
              });
    } else {
      others = true;
    }
  }
  if (heads.empty() || (others && !allowed)) {
    return;
  }
  const std::string what =
      (heads.size() == 1 ? "head '" : "heads '") + join({heads.begin(), heads.end()}, "', '") + "'";
  if (!allowed) {
    throw ConfigError(
        "models must have the same heads, but '" + *example + "' is " + difference(*example, models) +
        (tied ? "; where a model without it has its embedding as head (tied embeddings), add "
                "tie_word_embeddings = true to its config.json"
              : "") +
        "; heads of other tasks cannot be merged: --allow-head-mismatch merges all but the " + what);
  }
  notes.push_back("the " + what + " is not the same in all models ('" + *example + "' is " +
                  difference(*example, models) +
                  "), so the result has none; take it from the model of your task");
  for (auto* model : models) {
    std::map<std::string, std::string> names;
    for (const TensorInfo& info : (*model)->tensors()) {
      if (!lies_in(info.name, heads)) {
        names.emplace(info.name, info.name);
      }
    }
    *model = relabelled(std::move(*model), std::move(names));
  }
}

}  // namespace fusegrid
