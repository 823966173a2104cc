#include "checkpoint/stacked_config.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// Lists of the numbers of some layers.
const std::set<std::string>& lists_of_numbers() {
  static const std::set<std::string> listed{"attention_layers_idx",
                                            "attn_layer_idx",
                                            "attn_layer_ids",
                                            "attn_layer_indices",
                                            "cross_attention_layers",
                                            "dense_layers",
                                            "full_attention_idxs",
                                            "full_attn_idxs",
                                            "full_attn_layers",
                                            "full_attention_layers",
                                            "global_attention_layers",
                                            "global_attn_idxs",
                                            "global_attn_layers",
                                            "hybrid_layer_ids",
                                            "kda_layers",
                                            "mlp_only_layers",
                                            "moe_layer_ids",
                                            "moe_layer_indices",
                                            "moe_layers",
                                            "sliding_window_layers",
                                            "sparse_layers"};
  return listed;
}

// Lists, or a text, with an entry for each layer, whose names do not say so.
const std::set<std::string>& lists_of_all() {
  static const std::set<std::string> listed{"block_configs", "block_types", "hybrid_override_pattern"};
  return listed;
}

// Whether a rule chooses layer `layer` of `layers`. value: of its key.
using Rule = std::function<bool(int64_t value, int64_t layer, int64_t layers)>;

const std::map<std::string, Rule>& rules() {
  const auto below = [](int64_t value, int64_t layer, int64_t) { return layer < value; };
  const auto from = [](int64_t value, int64_t layer, int64_t) { return layer >= value; };
  const auto up_to = [](int64_t value, int64_t layer, int64_t) { return layer <= value; };
  const auto every = [](int64_t value, int64_t layer, int64_t) {
    return value > 0 && (layer + 1) % value == 0;
  };
  const auto every_from_first = [](int64_t value, int64_t layer, int64_t) {
    return value > 0 && layer % value == 0;
  };
  const auto last = [](int64_t value, int64_t layer, int64_t layers) { return layer >= layers - value; };
  static const std::map<std::string, Rule> rule_of_key{
      {"cross_attention_interval", every},
      {"decoder_sparse_step", every},
      {"first_k_dense_replace", below},
      {"full_attention_interval", every},
      {"global_attn_every_n_layers", every_from_first},
      {"interleave_moe_layer_step", every},
      {"max_window_layers", from},
      {"moe_layer_end_index", up_to},
      {"moe_layer_freq", every_from_first},
      {"moe_layer_interval", every},
      {"moe_layer_start_index", from},
      {"no_rope_layer_interval", every},
      {"num_dense_layers", below},
      {"num_kv_shared_layers", last},
      {"sliding_window_pattern", every},
  };
  return rule_of_key;
}

// Keys that choose layers by `layer % period == offset`.
const std::map<std::string, std::string>& periods() {
  static const std::map<std::string, std::string> offsets{{"attn_layer_period", "attn_layer_offset"},
                                                          {"expert_layer_period", "expert_layer_offset"}};
  return offsets;
}

// Whether layer_types of the same configuration, which goes with the layers, says what this key would.
bool is_said_by_layer_types(const std::string& key) {
  static const std::set<std::string> listed{"full_attention_interval", "global_attn_every_n_layers",
                                            "max_window_layers", "sliding_window_pattern"};
  return listed.contains(key);
}

[[noreturn]] void refuse(const std::string& key, const StackedLayer& layer) {
  throw ConfigError(
      "a stack must keep what config.json says of its layers, but '" + key + "' (" +
      layer.config->value(key, nlohmann::json()).dump().substr(0, 80) + " in '" + layer.model +
      "') chooses layers by their numbers, and the stack has others under these; choose ranges that keep "
      "them in place, or take '" +
      key + "' out of config.json where the layers do not depend on it");
}

const nlohmann::json& entry(const StackedLayer& layer, const std::string& key) {
  static const nlohmann::json none;
  const auto it = layer.config->find(key);
  return it == layer.config->end() ? none : *it;
}

bool is_for_each_layer(const std::string& key, const nlohmann::json& value, int64_t layers) {
  const bool named = key.find("layer") != std::string::npos || lists_of_all().contains(key);
  const bool text = value.is_string() && lists_of_all().contains(key);
  const auto size = text ? value.get_ref<const std::string&>().size() : value.size();
  return named && !lists_of_numbers().contains(key) && (text || value.is_array()) &&
         static_cast<int64_t>(size) == layers;
}

bool is_list_of_numbers(const nlohmann::json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(),
                     [](const nlohmann::json& item) { return item.is_number_integer(); });
}

// Layers that are named by their numbers in a form that is not known.
bool speaks_of_single_layers(const std::string& key, const nlohmann::json& value) {
  static const std::set<std::string> counting_words{"every", "freq",  "frequency", "interval", "idx",
                                                    "index", "first", "offset",    "pattern",  "period",
                                                    "start", "step",  "stride"};
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  };
  if (value.is_object() && !value.empty() &&
      (key.find("layer") != std::string::npos || key == "pruned_heads")) {
    return std::all_of(value.items().begin(), value.items().end(),
                       [&](const auto& item) { return is_number(item.key()); });
  }
  if (key.find("layer") == std::string::npos) {
    return false;
  }
  if (value.is_string()) {
    const auto parts = split(value.get<std::string>(), ',');
    return parts.size() > 1 && std::all_of(parts.begin(), parts.end(), is_number);
  }
  const auto words = split(key, '_');
  const bool rule = value.is_number_integer() && value != 0 &&
                    std::any_of(words.begin(), words.end(),
                                [](const std::string& word) { return counting_words.contains(word); });
  return rule || is_list_of_numbers(value);
}

nlohmann::json entries_of(const std::string& key, const std::vector<StackedLayer>& stack) {
  nlohmann::json list = nlohmann::json::array();
  std::string text;
  for (const StackedLayer& layer : stack) {
    const nlohmann::json& theirs = entry(layer, key);
    if (!is_for_each_layer(key, theirs, layer.layers)) {
      throw ConfigError("'" + key + "' must be a list with an entry for each layer in config.json of '" +
                        layer.model + "', as it is in that of another model of the stack");
    }
    if (theirs.is_string()) {
      text += theirs.get_ref<const std::string&>()[static_cast<size_t>(layer.layer)];
    } else {
      list.push_back(theirs[static_cast<size_t>(layer.layer)]);
    }
  }
  return text.empty() ? list : nlohmann::json(text);
}

nlohmann::json numbers_of(const std::string& key, const std::vector<StackedLayer>& stack) {
  nlohmann::json numbers = nlohmann::json::array();
  for (size_t i = 0; i < stack.size(); ++i) {
    const nlohmann::json& theirs = entry(stack[i], key);
    if (!theirs.is_null() && !(theirs.is_array() && (theirs.empty() || is_list_of_numbers(theirs)))) {
      refuse(key, stack[i]);
    }
    if (std::find(theirs.begin(), theirs.end(), stack[i].layer) != theirs.end()) {
      numbers.push_back(i);
    }
  }
  return numbers;
}

// What the rule of `key` says of a layer; nothing where the configuration has no such rule.
std::optional<bool> chosen(const std::string& key, const nlohmann::json& config, int64_t layer,
                           int64_t layers) {
  const auto value = config.find(key);
  if (value == config.end() || !value->is_number_integer() ||
      (key == "max_window_layers" && config.value("use_sliding_window", nlohmann::json()) != true)) {
    return std::nullopt;
  }
  if (const auto offset = periods().find(key); offset != periods().end()) {
    const nlohmann::json at = config.value(offset->second, nlohmann::json(0));
    const auto period = value->get<int64_t>();
    return period > 0 && at.is_number_integer() && layer % period == at.get<int64_t>();
  }
  return rules().at(key)(value->get<int64_t>(), layer, layers);
}

void check_rule(const std::string& key, const nlohmann::json& config,
                const std::vector<StackedLayer>& stack) {
  const auto layers = static_cast<int64_t>(stack.size());
  for (int64_t i = 0; i < layers; ++i) {
    const StackedLayer& from = stack[static_cast<size_t>(i)];
    if (chosen(key, config, i, layers) != chosen(key, *from.config, from.layer, from.layers)) {
      refuse(key, from);
    }
  }
}

}  // namespace

void restack_config(nlohmann::json& config, const std::vector<StackedLayer>& stack) {
  const StackedLayer& first = stack.front();
  bool whole = static_cast<int64_t>(stack.size()) == first.layers;
  std::map<std::string, const StackedLayer*> keys;  // with a layer whose configuration has the key
  for (size_t i = 0; i < stack.size(); ++i) {
    whole &= stack[i].config == first.config && stack[i].layer == static_cast<int64_t>(i);
    for (const auto& [key, value] : stack[i].config->items()) {
      if (!value.is_null()) {
        keys.emplace(key, &stack[i]);
      }
    }
  }
  if (whole) {
    return;
  }
  const nlohmann::json before = config;
  const bool has_types = before.contains("layer_types") && before["layer_types"].is_array();
  for (const auto& entry_of_layer : keys) {
    const std::string& key = entry_of_layer.first;
    const auto& layer = entry_of_layer.second;
    const nlohmann::json& value = entry(*layer, key);
    if (is_for_each_layer(key, value, layer->layers)) {
      config[key] = entries_of(key, stack);
    } else if (lists_of_numbers().contains(key)) {
      config[key] = numbers_of(key, stack);
    } else if (rules().contains(key) || periods().contains(key)) {
      if (!has_types || !is_said_by_layer_types(key)) {
        check_rule(key, before, stack);
      }
    } else if (std::none_of(periods().begin(), periods().end(),
                            [&](const auto& pair) { return pair.second == key; }) &&
               speaks_of_single_layers(key, value)) {
      refuse(key, *layer);
    }
  }
}

}  // namespace fusegrid
