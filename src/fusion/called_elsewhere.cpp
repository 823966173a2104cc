#include "fusion/called_elsewhere.h"

#include <algorithm>
#include <map>

#include "core/errors.h"
#include "fusion/compat/porting.h"

namespace fusegrid {
namespace {

// "DARE-TIES" -> "dare_ties"
std::string as_written_here(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '-' || c == ' ' ? '_' : c;
  });
  return name;
}

std::string method_of(const PortedMethod& ported) {
  return ported.call.substr(0, ported.call.find('{'));
}

// Of FusionBench, and of papers, where no rule leads from the one to the other.
const std::map<std::string, std::string>& other_names() {
  static const std::map<std::string, std::string> names{{"adamerging", "layer_wise_adamerging"},
                                                        {"adasvd", "ada_svd"},
                                                        {"average", "simple_average"},
                                                        {"averaging", "simple_average"},
                                                        {"depth_upscaling", "passthrough"},
                                                        {"frankenmerge", "passthrough"},
                                                        {"free_merging", "fr_merging"},
                                                        {"isotropic", "iso_c"},
                                                        {"mean", "simple_average"},
                                                        {"model_soup", "simple_average"},
                                                        {"regmean++", "regmean_plusplus"},
                                                        {"smile_upscaling", "smile"},
                                                        {"swudi_a", "aswudi"},
                                                        {"trust_region", "tatr"},
                                                        {"tsvm", "tsv_m"},
                                                        {"uniform_soup", "simple_average"},
                                                        {"weight_ensembling_moe", "wemoe"}};
  return names;
}

}  // namespace

std::string advice_on_method(const std::string& name) {
  const std::string plain = as_written_here(name);
  for (const PortedMethod& ported : ported_methods()) {
    if (ported.name == plain && method_of(ported) != plain) {
      return "; mergekit's is called '" + method_of(ported) + "' here, with its defaults '" + ported.call +
             "'";
    }
  }
  if (method_registry().contains(plain)) {
    return "; did you mean '" + plain + "'?";
  }
  if (const auto it = other_names().find(plain); it != other_names().end()) {
    return "; it is called '" + it->second + "' here";
  }
  for (const std::string ending : {"_merging", "_merge", "_averaging"}) {
    const std::string stem = plain.substr(0, plain.size() - std::min(plain.size(), ending.size()));
    if (plain.ends_with(ending) && method_registry().contains(stem)) {
      return "; it is called '" + stem + "' here";
    }
  }
  return "";
}

const Method& method_called(const std::string& name) {
  if (!method_registry().contains(name)) {
    if (const std::string hint = advice_on_method(name); !hint.empty()) {
      throw ConfigError("there is no method '" + name + "'" + hint);
    }
  }
  return method_registry().at(name);
}

void check_parameter_names(const Method& method, const ParamText& parameters) {
  std::vector<std::string> known;
  for (const ParamInfo& parameter : method.params()) {
    known.push_back(parameter.name);
  }
  for (const auto& [name, value] : parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      continue;
    }
    for (const PortedMethod& ported : ported_methods()) {
      for (const PortedParameter& parameter : ported.parameters) {
        if (method_of(ported) != method.card.name || parameter.name != name) {
          continue;
        }
        throw ConfigError("method '" + method.card.name + "' has no parameter '" + name + "'; " +
                          (parameter.here.empty() ? "mergekit's has no counterpart here"
                                                  : "mergekit's is called '" + parameter.here + "' here") +
                          (parameter.note.empty() ? "" : " (" + parameter.note + ")"));
      }
    }
  }
}

}  // namespace fusegrid
