// Names of methods and parameters as users of other tools know them.
#pragma once

#include <string>

#include "fusion/method.h"

namespace fusegrid {

// What to say of a name that is no method's, "; mergekit's is called 'weighted_average' here"; "" where nothing is
// known.
std::string advice_on_method(const std::string& name);

// The method `name`. Throws ConfigError where there is none, which says what mergekit's or FusionBench's method of that
// name is called here; else what comes near, and what is known.
const Method& method_called(const std::string& name);

// Throws ConfigError where a parameter that mergekit's method has is called otherwise here; says how. Others are left
// to the method.
void check_parameter_names(const Method& method, const ParamText& parameters);

}  // namespace fusegrid
