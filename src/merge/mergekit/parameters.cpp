#include "merge/mergekit/parameters.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "merge/mergekit/keys.h"

namespace fusegrid::mergekit {
namespace {

double number(const YamlValue& value, const std::string& name) {
  const std::string& text = value.text;
  const size_t first = text.find_first_not_of("+-");
  // Python reads 010 as eight
  const bool octal = first != std::string::npos && text[first] == '0' && first + 1 < text.size() &&
                     std::isdigit(static_cast<unsigned char>(text[first + 1])) != 0;
  try {
    const double parsed = parse_double(text.starts_with('+') ? text.substr(1) : text, name);
    if (!octal && std::isfinite(parsed)) {
      return parsed;
    }
  } catch (const ConfigError&) {  // told below, with the line
  }
  value.fail("parameter '" + name + "' must be a number, but it is " + value.seen());
}

std::string checked(const PortedParameter& parameter, const YamlValue& value) {
  return parameter.is_truth_value() ? (truth_value_of(value, parameter.name) ? "true" : "false")
                                    : number_text(number(value, parameter.name));
}

// Between the two values around t.
std::string interpolated(const std::vector<YamlValue>& values, const std::string& name, double t) {
  const double scaled = t * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(scaled);
  const size_t above = std::min(values.size() - 1, below + 1);
  const double share = scaled - static_cast<double>(below);
  return number_text((1 - share) * number(values[below], name) + share * number(values[above], name));
}

std::optional<std::string> at_place(const PortedParameter& parameter, const Condition& condition, double t) {
  if (condition.values.empty()) {
    return std::nullopt;
  }
  if (!condition.is_gradient) {
    return checked(parameter, condition.values.front());
  }
  if (parameter.is_truth_value()) {
    const auto chosen = static_cast<size_t>(t * static_cast<double>(condition.values.size() - 1));
    return checked(parameter, condition.values[chosen]);
  }
  return interpolated(condition.values, parameter.name, t);
}

std::optional<std::string> in_scope(const PortedParameter& parameter, const Parameter& given,
                                    const TensorPlace& tensor) {
  for (const Condition& condition : given.conditions) {
    if (!condition.filter || *condition.filter == "*" ||
        tensor.name.find(*condition.filter) != std::string::npos) {
      return at_place(parameter, condition, tensor.t);
    }
  }
  return std::nullopt;
}

const PortedParameter* find(const PortedMethod& method, const std::string& name) {
  const auto it = std::find_if(method.parameters.begin(), method.parameters.end(),
                               [&](const PortedParameter& parameter) { return parameter.name == name; });
  return it == method.parameters.end() ? nullptr : &*it;
}

std::string word_or_number(const PortedParameter& parameter, const std::string& value) {
  if (!parameter.if_true.empty()) {
    return value == "true" ? parameter.if_true : parameter.if_false;
  }
  return parameter.here == "drop_rate" ? number_text(1 - parse_double(value, parameter.name)) : value;
}

// Whether a parameter becomes one here without looking at others.
bool stands_alone(const PortedMethod& method, const PortedParameter& parameter) {
  return !parameter.here.empty() && method.name != "nuslerp";
}

void check_value(const PortedMethod& method, const PortedParameter& parameter, const YamlValue& value) {
  const std::string text = checked(parameter, value);
  if (!stands_alone(method, parameter)) {
    return;
  }
  const Method& ours = method_registry().at(parse_call(method.call).first);
  try {
    ours.canonical({{parameter.here, word_or_number(parameter, text)}});
  } catch (const ConfigError& error) {
    value.fail("mergekit's '" + parameter.name + "': " + error.what());
  }
}

// of_source: they stand with one model
void check_scope(const PortedMethod& method, const Parameters& parameters, bool of_source) {
  std::vector<std::string> known;
  for (const PortedParameter& parameter : method.parameters) {
    known.push_back(parameter.name);
  }
  for (const auto& [name, given] : parameters) {
    const PortedParameter* const parameter = find(method, name);
    if (parameter == nullptr) {
      given.at.fail("method '" + method.name + "' has no parameter '" + name + "'" +
                    (known.empty() ? "; it has none" : alternatives(name, known)));
    }
    if (of_source && parameter->scope == PortedScope::kShared) {
      given.at.fail(
          "parameter '" + name + "' of method '" + method.name +
          "' is no model's: mergekit does not read it here; move it to the file's own 'parameters'");
    }
    for (const Condition& condition : given.conditions) {
      for (const YamlValue& value : condition.values) {
        check_value(method, *parameter, value);
      }
    }
  }
}

// "turns" of nuslerp, which has one number for two weights.
void set_nuslerp(const Resolved& values, bool with_base, ParamText& here) {
  const auto& weights = values.of_each_model.at("weight");
  const double first = parse_double(weights.at(0), "weight");
  const double second = parse_double(weights.at(1), "weight");
  here["t"] = number_text(std::abs(first + second) < 1e-6 ? 0.5 : second / (first + second));
  here["arc"] = with_base ? "task_vectors" : "weights";
  const auto is_on = [&](const std::string& name, bool fallback) {
    const auto it = values.shared.find(name);
    return it == values.shared.end() ? fallback : it->second == "true";
  };
  here["unit"] = is_on("nuslerp_flatten", true)     ? "tensor"
                 : is_on("nuslerp_row_wise", false) ? "columns"
                                                    : "rows";
}

}  // namespace

const PortedMethod& method_named(const YamlValue& name) {
  std::vector<std::string> known;
  for (const PortedMethod& method : ported_methods()) {
    if (method.name == name.text) {
      return method;
    }
    known.push_back(method.name);
  }
  name.fail("mergekit 0.1.5 has no method '" + name.text + "'" + alternatives(name.text, known));
}

void check_parameters(const Document& document, const PortedMethod& method) {
  check_scope(method, document.parameters, false);
  check_scope(method, document.module_parameters, false);
  for (const OutputSlice& slice : document.slices) {
    check_scope(method, slice.parameters, false);
    for (const Source& source : slice.sources) {
      check_scope(method, source.parameters, true);
    }
  }
}

std::optional<std::string> value_of(const PortedParameter& parameter,
                                    const std::vector<const Parameters*>& scopes, const TensorPlace& tensor) {
  for (const Parameters* scope : scopes) {
    if (const auto given = scope->find(parameter.name); given != scope->end()) {
      if (auto value = in_scope(parameter, given->second, tensor)) {
        return value;
      }
    }
  }
  return std::nullopt;
}

ParamText parameters_here(const PortedMethod& method, const Resolved& values, bool with_base) {
  ParamText here = parse_call(method.call).second;
  if (method.name == "nuslerp") {
    set_nuslerp(values, with_base, here);
    return here;
  }
  if (method.name == "multislerp") {
    here["around"] = with_base ? "base" : "zero";
  }
  for (const PortedParameter& parameter : method.parameters) {
    if (const auto it = values.shared.find(parameter.name);
        it != values.shared.end() && !parameter.here.empty()) {
      here[parameter.here] = word_or_number(parameter, it->second);
    }
    if (const auto it = values.of_each_model.find(parameter.name);
        it != values.of_each_model.end() && !parameter.here.empty()) {
      std::vector<std::string> texts;
      for (const std::string& value : it->second) {
        texts.push_back(word_or_number(parameter, value));
      }
      here[parameter.here] = join(texts, ":");
    }
  }
  return here;
}

}  // namespace fusegrid::mergekit
