// Parameters of mergekit's methods: their filters, gradients and precedence, and what they are here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/params.h"
#include "fusion/compat/porting.h"
#include "merge/mergekit/document.h"

namespace fusegrid::mergekit {

// Throws ConfigError with the line where mergekit 0.1.5 has no such method.
const PortedMethod& method_named(const YamlValue& name);

// Throws ConfigError with the line: parameters that the method has not, that cannot stand where they do, and values
// that are none or out of range.
void check_parameters(const Document& document, const PortedMethod& method);

// A tensor, as parameters see it.
struct TensorPlace {
  std::string name;  // filters look at
  double t = 0;      // where in the layers of its slice, from 0 to 1; outside of layers 0
};

// What a parameter is for a tensor: of the scopes, the first that has a value for it counts. Numbers of a gradient are
// interpolated, truth values chosen. Canonical text of a number, "true" or "false"; nothing where no scope has one.
std::optional<std::string> value_of(const PortedParameter& parameter,
                                    const std::vector<const Parameters*>& scopes, const TensorPlace& tensor);

// Values by the names of mergekit, those that were given.
struct Resolved {
  std::map<std::string, std::string> shared;
  std::map<std::string, std::vector<std::string>> of_each_model;  // of all models that are merged
};
// What the method here is called with, mergekit's defaults filled in. with_base: whether there is a base.
ParamText parameters_here(const PortedMethod& method, const Resolved& values, bool with_base);

}  // namespace fusegrid::mergekit
