// What mergekit 0.1.5 calls its methods and parameters, and what they are here: the source of docs/mergekit.md, and of
// what merge/mergekit makes of its configuration files.
// tests/golden/mergekit_parameters.json holds what mergekit itself declares, and the test compares.
#pragma once

#include <string>
#include <vector>

namespace fusegrid {

// What mergekit tells apart by model.
enum class PortedScope { kShared, kOfEachModel };

struct PortedParameter {
  std::string name;           // in mergekit
  std::string default_value;  // there, as Python writes it; empty: it must be given
  std::string here;           // our parameter; empty: there is none
  std::string note = {};      // how values translate, where they are not the same, or why there is none
  PortedScope scope = PortedScope::kShared;
  // Of a truth value that is a word here.
  std::string if_true = {};
  std::string if_false = {};

  bool is_truth_value() const { return default_value == "True" || default_value == "False"; }
};

// What mergekit's method makes of `base_model`.
enum class PortedBase {
  kRequired,  // task vectors start there, or it is the first of the two
  kOptional,  // likewise, if there is one
  kIgnored,   // it is one more model
};

struct PortedMethod {
  std::string name;  // in mergekit
  std::string call;  // our method with mergekit's defaults
  std::vector<PortedParameter> parameters;
  PortedBase base = PortedBase::kRequired;
};

// In the order of their names.
const std::vector<PortedMethod>& ported_methods();

}  // namespace fusegrid
