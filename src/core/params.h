// Parameters of methods, declared once by `describe(visitor)`; every other use (parsing, canonical names,
// documents, HDF5 attributes) is a visitor over that declaration.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fusegrid {

// Closed interval of the values that a parameter accepts.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// The words that a parameter accepts.
using Choices = std::vector<std::string>;

// name -> value as written by the user
using ParamText = std::map<std::string, std::string>;

// Reads the declared parameters from text. Unknown names, unreadable values and values out of range throw
// ConfigError, which names the owner, the parameter, the value seen and what is accepted.
class ParamReader {
 public:
  // owner: whose parameters they are, as a sentence says it: "method 'ties'"
  ParamReader(std::string owner, ParamText text);
  void param(const std::string& name, double& value, Range range, const std::string& doc);
  void param(const std::string& name, int64_t& value, Range range, const std::string& doc);
  void param(const std::string& name, bool& value, const std::string& doc);
  void param(const std::string& name, std::string& value, const Choices& choices, const std::string& doc);
  // A list of numbers, written 0.2:0.3:0.5; empty, written as nothing, means "not given".
  void param(const std::string& name, std::vector<double>& value, Range range, const std::string& doc);
  void expect_all_read() const;

 private:
  bool take(const std::string& name, std::string& text);
  void check_range(const std::string& name, double value, Range range) const;
  std::string where(const std::string& name) const;

  std::string owner_;
  ParamText text_;
  std::vector<std::string> declared_;
};

// One declared parameter with its current value as canonical text.
struct ParamInfo {
  std::string name;
  std::string value;
  std::string accepts;  // "[0, 2]", "sum | mean", "true | false"
  std::string doc;
};

// Lists the declared parameters: source of canonical names, documents and attributes.
class ParamLister {
 public:
  void param(const std::string& name, const double& value, Range range, const std::string& doc);
  void param(const std::string& name, const int64_t& value, Range range, const std::string& doc);
  void param(const std::string& name, const bool& value, const std::string& doc);
  void param(const std::string& name, const std::string& value, const Choices& choices,
             const std::string& doc);
  void param(const std::string& name, const std::vector<double>& value, Range range, const std::string& doc);
  const std::vector<ParamInfo>& params() const { return params_; }
  // "name=value,name=value" with every parameter written out, in order of declaration
  std::string canonical() const;

 private:
  std::vector<ParamInfo> params_;
};

// Splits "name{a=1,b=2}" into the name and its parameters; throws ConfigError where braces do not match.
std::pair<std::string, ParamText> parse_call(const std::string& text);

}  // namespace fusegrid
