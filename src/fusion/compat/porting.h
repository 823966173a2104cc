// What mergekit 0.1.5 calls its methods and parameters, and what they are here: the source of docs/mergekit.md.
// tests/golden/mergekit_parameters.json holds what mergekit itself declares, and the test compares.
#pragma once

#include <string>
#include <vector>

namespace fusegrid {

struct PortedParameter {
  std::string name;           // in mergekit
  std::string default_value;  // there, as Python writes it; empty: it must be given
  std::string here;           // our parameter; empty: there is none
  std::string note = {};      // how values translate, where they are not the same, or why there is none
};

struct PortedMethod {
  std::string name;  // in mergekit
  std::string call;  // our method with mergekit's defaults
  std::vector<PortedParameter> parameters;
};

// In the order of their names.
const std::vector<PortedMethod>& ported_methods();

}  // namespace fusegrid
