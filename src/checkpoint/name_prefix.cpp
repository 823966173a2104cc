#include "checkpoint/name_prefix.h"

#include <algorithm>
#include <map>
#include <utility>

namespace fusegrid {

std::optional<std::string> NamePrefix::ours(const std::string& theirs,
                                            const std::set<std::string>& our_names) const {
  if (our_names.contains(theirs)) {
    return theirs;
  }
  if (is_ours && our_names.contains(text + theirs)) {
    return text + theirs;
  }
  if (!is_ours && theirs.starts_with(text) && our_names.contains(theirs.substr(text.size()))) {
    return theirs.substr(text.size());
  }
  return std::nullopt;
}

std::vector<NamePrefix> prefixes_between(const std::set<std::string>& ours,
                                         const std::set<std::string>& theirs) {
  std::map<std::pair<std::string, bool>, size_t> explained;
  // every way to cut a name of one side that leaves a name of the other
  const auto count = [&](const std::set<std::string>& longer, const std::set<std::string>& shorter,
                         bool is_ours) {
    for (const std::string& name : longer) {
      if (shorter.contains(name)) {
        continue;
      }
      for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
        const std::string rest = name.substr(dot + 1);
        if (shorter.contains(rest) && !longer.contains(rest)) {
          ++explained[{name.substr(0, dot + 1), is_ours}];
        }
      }
    }
  };
  count(ours, theirs, true);
  count(theirs, ours, false);
  size_t most = 0;
  for (const auto& [prefix, number] : explained) {
    most = std::max(most, number);
  }
  std::vector<NamePrefix> best;
  for (const auto& [prefix, number] : explained) {
    if (number == most) {
      best.push_back({prefix.first, prefix.second});
    }
  }
  return best;
}

}  // namespace fusegrid
