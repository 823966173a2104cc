#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace fusegrid {

// One model under two namings: a prefix that the names of the one have and those of the other lack, as when the same
// encoder is saved alone and within a classifier ("encoder.layer.0..." and "bert.encoder.layer.0...").
struct NamePrefix {
  std::string text;     // with its dot; empty: the names are alike
  bool is_ours = true;  // our names have it; else theirs do

  // What the model with our names calls the tensor `theirs`, if it has it.
  std::optional<std::string> ours(const std::string& theirs, const std::set<std::string>& our_names) const;
};

// The prefixes that explain the most of `theirs`, names that `ours` lacks; none where nothing explains one of them.
// Several are equally good.
std::vector<NamePrefix> prefixes_between(const std::set<std::string>& ours,
                                         const std::set<std::string>& theirs);

}  // namespace fusegrid
