#include "fusion/compat/porting.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "fusion/compat/compat.h"
#include "support/source_folder.h"

namespace fusegrid {
namespace {

using Declared = std::map<std::string, std::map<std::string, std::string>>;  // [method][parameter]: default

// What mergekit declares is in a file that mergekit wrote.
TEST(Porting, has_every_method_and_every_parameter_of_mergekit) {
  std::ifstream file(source_folder() / "tests/golden/mergekit_parameters.json");
  const auto original = nlohmann::json::parse(file).get<Declared>();
  Declared ported;
  for (const PortedMethod& method : ported_methods()) {
    auto& parameters = ported[method.name];
    for (const PortedParameter& parameter : method.parameters) {
      parameters[parameter.name] = parameter.default_value;
    }
    EXPECT_EQ(parameters.size(), method.parameters.size()) << method.name << " names a parameter twice";
  }
  EXPECT_EQ(ported, original);
}

// What the value of one of mergekit's parameters is here.
std::string translated(const PortedParameter& parameter) {
  static const std::map<std::string, std::pair<std::string, std::string>> kWords{
      {"merge", {"mean", "sum"}}, {"rescale", {"l1", "none"}}, {"normalize", {"true", "false"}}};
  if (const auto words = kWords.find(parameter.here); words != kWords.end()) {
    return parameter.default_value == "True" ? words->second.first : words->second.second;
  }
  if (parameter.here == "unit") {
    return "tensor";  // the default of all that choose it
  }
  if (parameter.default_value == "None") {
    return "1";  // a factor
  }
  const double value = parse_double(parameter.default_value, parameter.name);
  return number_text(parameter.here == "drop_rate" ? 1 - value : value);
}

TEST(Porting, gives_calls_with_the_defaults_of_mergekit) {
  for (const PortedMethod& ported : ported_methods()) {
    SCOPED_TRACE(ported.name);
    const auto [name, parameters] = parse_call(ported.call);
    const Method& method = method_registry().at(name);
    std::map<std::string, std::string> values;
    for (const ParamInfo& parameter : method.params()) {
      values[parameter.name] = parameter.value;
    }
    EXPECT_NO_THROW(method.canonical(parameters));
    for (const PortedParameter& parameter : ported.parameters) {
      EXPECT_TRUE(!parameter.here.empty() || !parameter.note.empty())
          << parameter.name << " is left out without a reason";
      if (parameter.here.empty()) {
        continue;
      }
      ASSERT_TRUE(values.contains(parameter.here)) << parameter.here;
      if (!parameter.default_value.empty()) {
        const auto given = parameters.find(parameter.here);
        ASSERT_NE(given, parameters.end()) << "the call is silent about " << parameter.here;
        const std::string expected = translated(parameter);
        EXPECT_TRUE(given->second == expected ||
                    parse_double(given->second, parameter.here) == parse_double(expected, parameter.here))
            << parameter.name << ": " << given->second << " is not " << expected;
      }
    }
  }
}

TEST(Porting, knows_every_method_that_has_mergekits_bytes) {
  std::set<std::string> ported{"simple_average"};  // `linear` with equal weights
  for (const PortedMethod& method : ported_methods()) {
    ported.insert(parse_call(method.call).first);
  }
  for (const std::string& name : compat_registry().names()) {
    EXPECT_TRUE(ported.contains(name)) << name;
  }
}

}  // namespace
}  // namespace fusegrid
