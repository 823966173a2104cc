#include "store/records.h"

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {

std::set<std::string> Records::planned() const {
  std::set<std::string> names;
  for (const auto& [job, items] : plans) {
    names.insert(items.begin(), items.end());
  }
  return names;
}

std::vector<std::string> Records::missing() const {
  std::vector<std::string> names;
  for (const auto& name : planned()) {
    if (!results.contains(name)) {
      names.push_back(name);
    }
  }
  return names;
}

std::string owner_binding(const std::string& zoo, const std::string& experts, const std::string& task) {
  return zoo + "/experts=" + experts + "/owner/" + task;
}

void check_bindings(const Records& records, const RunInfo& run) {
  std::vector<std::string> changes;
  for (const auto& [key, value] : run.bindings) {
    const auto known = records.bindings.find(key);
    if (known == records.bindings.end() || known->second.value == value) {
      continue;
    }
    const size_t launch = known->second.run;
    const auto& provenance = records.runs.at(launch).provenance;
    const std::string started = provenance.is_object()
                                    ? provenance.value("started", std::string("an unknown time"))
                                    : "an unknown time";
    changes.push_back("\n  " + key + " is " + value + " now, but launch " + std::to_string(launch) + " of " +
                      started + " recorded " + known->second.value);
  }
  if (!changes.empty()) {
    throw ConfigError(
        "the results of one folder are made from the same models and data, but these are others than "
        "recorded:" +
        join(changes, "") +
        "\nGive the results of the new ones a folder of their own (--results DIR), or bring the old ones "
        "back.");
  }
}

}  // namespace fusegrid
