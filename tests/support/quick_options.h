#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/text.h"
#include "fusion/method.h"

namespace fusegrid {

// Few steps and examples, so that methods that train take milliseconds: parameters of these names are set
// where a method has them; `more` goes with them.
inline std::string quick(const std::string& method, const std::string& more = "") {
  const std::map<std::string, std::string> small{
      {"steps", "3"},       {"batch", "4"},       {"examples", "8"},         {"lr", "0.01"},
      {"generations", "2"}, {"merge_steps", "3"}, {"adamerging_steps", "3"}, {"rounds", "2"}};
  std::vector<std::string> parts;
  if (!more.empty()) {
    parts.push_back(more);
  }
  for (const ParamInfo& parameter : method_registry().at(method).params()) {
    if (const auto value = small.find(parameter.name); value != small.end()) {
      parts.push_back(parameter.name + "=" + value->second);
    }
  }
  return parts.empty() ? method : method + "{" + join(parts, ",") + "}";
}

}  // namespace fusegrid
