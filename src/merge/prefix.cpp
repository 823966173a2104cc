#include "merge/prefix.h"

#include <map>
#include <set>
#include <utility>

#include "checkpoint/json_scanner.h"
#include "checkpoint/name_prefix.h"
#include "merge/relabelled.h"

namespace fusegrid {
namespace {

std::set<std::string> names_of(const ModelSource& model) {
  std::set<std::string> names;
  for (const TensorInfo& info : model.tensors()) {
    names.insert(info.name);
  }
  return names;
}

}  // namespace

std::unique_ptr<ModelSource> with_names_of(const ModelSource& reference, std::unique_ptr<ModelSource> expert,
                                           std::vector<std::string>& notes) {
  const std::set<std::string> ours = names_of(reference);
  const std::set<std::string> theirs = names_of(*expert);
  size_t alike = 0;
  for (const std::string& name : theirs) {
    alike += ours.contains(name) ? 1 : 0;
  }
  if (alike == theirs.size()) {
    return expert;
  }
  const auto prefixes = prefixes_between(ours, theirs);
  if (prefixes.size() != 1) {
    return expert;
  }
  const NamePrefix& prefix = prefixes.front();
  std::map<std::string, std::string> names;
  size_t explained = 0;
  for (const std::string& name : theirs) {
    const auto known = prefix.ours(name, ours);
    explained += known && *known != name ? 1 : 0;
    if (!names.emplace(known.value_or(name), name).second) {
      return expert;  // two tensors would have one name
    }
  }
  if (explained <= alike || 2 * (explained + alike) < ours.size()) {
    return expert;
  }
  notes.push_back("the names of '" + (prefix.is_ours ? reference : *expert).name() + "' have the prefix " +
                  printable(prefix.text) + ", those of '" + (prefix.is_ours ? *expert : reference).name() +
                  "' lack it; they are taken for one model, and the result has the names of '" +
                  reference.name() + "'");
  return relabelled(std::move(expert), std::move(names));
}

}  // namespace fusegrid
