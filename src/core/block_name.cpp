#include "core/block_name.h"

#include <algorithm>

#include "core/text.h"

namespace fusegrid {
namespace {

bool is_number(const std::string& part) {
  return !part.empty() && part.size() < 10 &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

BlockName block_name(const std::string& tensor) {
  const std::vector<std::string> parts = split(tensor, '.');
  const auto number = std::find_if(parts.begin(), parts.end(), is_number);
  if (number == parts.end()) {
    return {false, "", 0, tensor};
  }
  const std::string before = join({parts.begin(), number}, ".");
  return {true, before.empty() ? "" : before + ".", parse_int(*number, tensor),
          join({number + 1, parts.end()}, ".")};
}

}  // namespace fusegrid
