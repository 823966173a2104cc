#include "core/alternatives.h"

#include "core/text.h"

namespace fusegrid {

std::string alternatives(const std::string& name, const std::vector<std::string>& known) {
  const std::string hint = nearest(name, known);
  return (hint.empty() || hint == name ? "." : "; did you mean '" + hint + "'?") +
         (known.empty() ? " There are none" : " Known: " + join(known, ", "));
}

}  // namespace fusegrid
