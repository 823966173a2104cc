#include "checkpoint/adapter_names.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "checkpoint/json_scanner.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr size_t kMaxListed = 5;

// names: of the adapter's tensors, of which `base` lacks some under any prefix.
[[noreturn]] void fail_with_another_base(const std::string& adapter, const std::string& base,
                                         const NamePrefix& prefix, const std::set<std::string>& missing) {
  std::vector<std::string> names;
  std::transform(missing.begin(), missing.end(), std::back_inserter(names),
                 [](const std::string& name) { return printable(name); });
  const bool head = std::any_of(missing.begin(), missing.end(), is_tied_head);
  const std::string renamed =
      prefix.text.empty()
          ? ""
          : " That the names of the " + std::string(prefix.is_ours ? "base" : "adapter") +
                " have the prefix " + printable(prefix.text) + " more was taken into account.";
  throw ConfigError("an adapter must have been trained on its base, but '" + adapter + "' changes " +
                    number_text(static_cast<int64_t>(missing.size())) + " tensor(s) that '" + base +
                    "' does not have: " + some_names(names, kMaxListed) + "." + renamed +
                    (head ? " A base that has its embedding as head (tied weights) says so in config.json: "
                            "tie_word_embeddings."
                          : "") +
                    " Give the whole base that adapter_config.json names; or merge the adapter with PEFT's "
                    "merge_and_unload and give the result.");
}

std::vector<int64_t> sorted(std::vector<int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

NamePrefix prefix_in_base(const std::string& adapter, const std::vector<AdaptedTensor>& tensors,
                          const ModelSource& base) {
  std::set<std::string> ours;
  std::set<std::string> theirs;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorInfo& tensor : base.tensors()) {
    ours.insert(tensor.name);
    shapes.emplace(tensor.name, sorted(tensor.shape));
  }
  for (const AdaptedTensor& tensor : tensors) {
    theirs.insert(tensor.name);
  }
  const bool tied = tied_embedding(base).has_value();
  const auto missing_with = [&](const NamePrefix& prefix) {
    std::set<std::string> missing;
    for (const std::string& name : theirs) {
      if (!prefix.ours(name, ours) && !(tied && is_tied_head(name))) {
        missing.insert(name);
      }
    }
    return missing;
  };
  NamePrefix prefix;
  std::set<std::string> missing = missing_with(prefix);
  std::vector<NamePrefix> others =
      missing.empty() ? std::vector<NamePrefix>() : prefixes_between(ours, theirs);
  std::erase_if(others,
                [&](const NamePrefix& other) { return missing_with(other).size() >= missing.size(); });
  const auto shapes_fit = [&](const NamePrefix& other) {
    return std::ranges::all_of(tensors, [&](const AdaptedTensor& tensor) {
      const auto known = other.ours(tensor.name, ours);
      return !known || std::ranges::includes(shapes.at(*known), sorted(tensor.sides));
    });
  };
  if (others.size() > 1 && std::ranges::count_if(others, shapes_fit) == 1) {
    std::erase_if(others, [&](const NamePrefix& other) { return !shapes_fit(other); });
  }
  if (others.size() > 1) {
    throw ConfigError("an adapter must fit one part of its base, but the modules of '" + adapter +
                      "' are in '" + base.name() + "' under " + printable(others[0].text) + " and under " +
                      printable(others[1].text) +
                      "; merge it with PEFT's merge_and_unload and give the result");
  }
  if (others.size() == 1) {
    prefix = others.front();
    missing = missing_with(prefix);
  }
  for (const AdaptedTensor& tensor : tensors) {
    if (!tensor.needed) {
      missing.erase(tensor.name);
    }
  }
  if (!missing.empty()) {
    fail_with_another_base(adapter, base.name(), prefix, missing);
  }
  return prefix;
}

}  // namespace fusegrid
