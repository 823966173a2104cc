#include "checkpoint/quantised.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>

#include "checkpoint/buffers.h"
#include "checkpoint/json_scanner.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

bool is_set(const nlohmann::json& json, const char* key) {
  return json.contains(key) && json[key].is_boolean() && json[key].get<bool>();
}

// Whether what stands under a key of a configuration means that weights are quantised.
bool says_quantised(const nlohmann::json& settings) {
  if (!settings.is_object() || settings.empty()) {
    return false;
  }
  const bool switches = settings.contains("load_in_4bit") || settings.contains("load_in_8bit");
  return !switches || is_set(settings, "load_in_4bit") || is_set(settings, "load_in_8bit") ||
         is_set(settings, "_load_in_4bit") || is_set(settings, "_load_in_8bit");
}

// Which key of a configuration, or of a part of it (text_config, ...), says that weights are quantised.
std::optional<std::string> key_that_says_so(const nlohmann::json& config, const std::string& path = "") {
  if (!config.is_object()) {
    return std::nullopt;
  }
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    if (config.contains(key) && says_quantised(config[key])) {
      const nlohmann::json& settings = config[key];
      const bool named = settings.contains("quant_method") && settings["quant_method"].is_string();
      return path + key + (named ? " (" + settings["quant_method"].get<std::string>() + ")" : "");
    }
  }
  for (const auto& [key, value] : config.items()) {
    if (key.ends_with("_config")) {
      if (auto found = key_that_says_so(value, path + key + ".")) {
        return found;
      }
    }
  }
  return std::nullopt;
}

// "a.b.weight" -> "a.b.", "weight"
std::pair<std::string, std::string> module_and_rest(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::pair(std::string(), name)
                                  : std::pair(name.substr(0, dot + 1), name.substr(dot + 1));
}

bool is_packed_name(const std::string& last) {
  static const std::set<std::string> names{"qweight", "qzeros",     "qdata",   "W_q",          "_data",
                                           "codes",   "Qidxs",      "indices", "compressed",   "bitmask",
                                           "packed",  "zero_point", "g_idx",   "dense_weights"};
  const auto ends = [&](const char* text) { return last.ends_with(text); };
  return names.contains(last) || ends("weight") || ends("weights") || ends("weight_packed") ||
         ends("_qdata") || ends("_zero_point") || ends("_blocks") || ends("proj");
}

// Whether `last`, the last part of a tensor's name, is a scale of the tensor `of` in the same module.
bool is_scale_of(std::string last, std::string of) {
  static const std::set<std::string> ends{
      "scale", "scales", "scale_inv", "scaler",    "absmax",  "scb",       "amax", "shift",
      "zero",  "zeros",  "codebook",  "codebooks", "scale_2", "centroids", "meta", "quant_map"};
  const auto lower = [](std::string& text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  };
  lower(last);
  lower(of);
  std::vector<std::string> of_what{"", "_", "weight_", "input_", "output_", of + "_", of + "."};
  if (const size_t packed = of.find_last_of('_'); packed != std::string::npos) {
    of_what.push_back(of.substr(0, packed + 1));  // gate_up_proj_blocks, gate_up_proj_scales
  }
  return std::any_of(of_what.begin(), of_what.end(), [&](const std::string& begin) {
    return last.starts_with(begin) && ends.contains(last.substr(begin.size()));
  });
}

class Tensors {
 public:
  explicit Tensors(const std::vector<TensorInfo>& tensors) {
    for (const TensorInfo& info : tensors) {
      const auto [module, last] = module_and_rest(info.name);
      modules_[module].emplace_back(last, &info);
    }
  }

  // What shows that `info` is a part of a quantised weight.
  std::optional<std::string> sign_of(const TensorInfo& info) const {
    const bool float8 = at::isFloat8Type(info.dtype);
    const bool whole = at::isIntegralType(info.dtype, /*includeBool=*/false);
    const std::string what = printable(info.name) + " is " + at::toString(info.dtype);
    if (info.dtype == at::kFloat8_e8m0fnu) {
      return what + ", which holds scales alone";
    }
    if (!float8 && !whole) {
      return std::nullopt;
    }
    const auto [module, last] = module_and_rest(info.name);
    if (whole && is_packed_name(last)) {
      return what;
    }
    if (whole && info.shape.size() < 2) {
      return std::nullopt;
    }
    if (const auto scale = scale_of(info, module, last)) {
      return what + " with scales in " + printable(*scale);
    }
    return std::nullopt;
  }

 private:
  std::optional<std::string> scale_of(const TensorInfo& info, const std::string& module,
                                      const std::string& last) const {
    const auto among = [&](const std::string& where, const std::string& of) -> std::optional<std::string> {
      const auto it = modules_.find(where);
      if (it == modules_.end()) {
        return std::nullopt;
      }
      for (const auto& [name, other] : it->second) {
        // all of a model in float8 is a model in float8
        if (other != &info && other->dtype != info.dtype && is_scale_of(name, of)) {
          return other->name;
        }
      }
      return std::nullopt;
    };
    const auto beside = among(module, last);
    return beside ? beside : among(info.name + ".", "");  // x.weight, x.weight.absmax
  }

  std::map<std::string, std::vector<std::pair<std::string, const TensorInfo*>>> modules_;
};

[[noreturn]] void fail(const std::string& model, const std::string& sign, const std::string& remedy) {
  throw ConfigError("weights must be stored as plain numbers, but '" + model + "' is quantised: " + sign +
                    ". Packed values and their scales cannot be merged apart: give the model that it was "
                    "quantised from, or dequantise it first (transformers: model.dequantize(), then "
                    "model.save_pretrained(folder))" +
                    remedy);
}

}  // namespace

void check_not_quantised(const std::string& model, const nlohmann::json& config,
                         const std::vector<TensorInfo>& tensors) {
  const Tensors all(tensors);
  for (const TensorInfo& info : tensors) {
    if (const auto sign = all.sign_of(info)) {
      fail(model, *sign, "");
    }
  }
  if (const auto key = key_that_says_so(config)) {
    fail(model, "config.json has " + *key, "; where its weights are plain already, remove that key");
  }
}

}  // namespace fusegrid
