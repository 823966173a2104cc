#include "core/cell.h"

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// The part of `text` behind `prefix`; throws where it does not begin so.
std::string after(const std::string& text, const std::string& prefix, const std::string& name) {
  if (text.rfind(prefix, 0) != 0) {
    throw ConfigError("'" + name + "' is not the name of a cell: '" + text + "' should begin with '" +
                      prefix + "'");
  }
  return text.substr(prefix.size());
}

}  // namespace

std::string Cell::method_text() const {
  return parameters.empty() ? method : method + "{" + parameters + "}";
}

std::string Cell::without_task() const {
  return zoo + "/experts=" + experts + "/" + method_text() + "/seed=" + number_text(seed);
}

std::string Cell::name() const {
  return without_task() + "/" + task + "@" + shift;
}

Cell Cell::parse(const std::string& name) {
  const auto parts = split(name, '/');
  if (parts.size() != 5) {
    throw ConfigError("'" + name +
                      "' is not the name of a cell: zoo/experts=N/method{...}/seed=S/task@shift");
  }
  Cell cell;
  cell.zoo = parts[0];
  cell.experts = after(parts[1], "experts=", name);
  const auto brace = parts[2].find('{');
  cell.method = parts[2].substr(0, brace);
  if (brace != std::string::npos) {
    cell.parameters = parts[2].substr(brace + 1, parts[2].size() - brace - 2);
  }
  cell.seed = parse_int(after(parts[3], "seed=", name), "the seed of '" + name + "'");
  const auto at = parts[4].find('@');
  if (at == std::string::npos) {
    throw ConfigError("'" + name + "' is not the name of a cell: its last part must be task@shift");
  }
  cell.task = parts[4].substr(0, at);
  cell.shift = parts[4].substr(at + 1);
  if (cell.name() != name) {
    throw ConfigError("'" + name + "' is not the canonical name of a cell; did you mean '" + cell.name() +
                      "'?");
  }
  return cell;
}

}  // namespace fusegrid
