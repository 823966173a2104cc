#include "store/join.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

// A folder, and all it holds.
struct Source {
  fs::path folder;
  std::unique_ptr<ResultStore> store;
  const Records& records() const { return store->records(); }
};

std::vector<Source> read_sources(const std::vector<fs::path>& folders) {
  std::vector<Source> sources;
  for (const fs::path& folder : folders) {
    for (const Source& known : sources) {
      if (fs::equivalent(known.folder, folder)) {
        throw ConfigError("'" + folder.string() + "' is named twice; name each results folder once");
      }
    }
    sources.push_back({folder, ResultStore::read(folder)});
    if (sources.back().records().kind() != sources[0].records().kind()) {
      throw ConfigError("'" + folder.string() + "' holds results of the kind '" +
                        sources.back().records().kind() + "', but '" + sources[0].folder.string() + "' of '" +
                        sources[0].records().kind() + "'; join folders of one kind");
    }
  }
  return sources;
}

void check_target(const fs::path& target) {
  if (fs::exists(target) && (!fs::is_directory(target) || !fs::is_empty(target))) {
    throw ConfigError("'" + target.string() + "' is there already and not empty; join into a new folder");
  }
}

// What both rest on must be the same.
void check_same_bindings(const Source& one, const Source& other) {
  std::vector<std::string> differing;
  for (const auto& [key, binding] : other.records().bindings) {
    const auto found = one.records().bindings.find(key);
    if (found != one.records().bindings.end() && found->second.value != binding.value) {
      differing.push_back("\n  " + key + " is " + found->second.value + " in '" + one.folder.string() +
                          "', " + binding.value + " in '" + other.folder.string() + "'");
    }
  }
  if (!differing.empty()) {
    throw ConfigError("folders that are joined rest on the same models and data, but these are others:" +
                      join(differing, "") + "\nCompare them (fusegrid compare), or run one of them again");
  }
}

// What decides whether two valid results are one: numbers and what they rest on, not times or workers.
bool agree(const Result& one, const Result& other) {
  const auto key = [](const Metric& metric) { return std::pair(metric.split, metric.name); };
  std::map<std::pair<std::string, std::string>, double> values;
  for (const Metric& metric : one.metrics) {
    values.emplace(key(metric), metric.value);
  }
  const bool same_values = std::all_of(other.metrics.begin(), other.metrics.end(), [&](const Metric& metric) {
    const auto found = values.find(key(metric));
    return found == values.end() || found->second == metric.value;
  });
  return same_values && one.bindings == other.bindings;
}

bool is_better_known(const Result& candidate, const Result& known) {
  if (candidate.status != known.status) {
    return candidate.status < known.status;  // valid, invalid, failed
  }
  return splits_of(candidate).size() > splits_of(known).size();
}

std::map<std::string, const Result*> joined_results(const std::vector<Source>& sources) {
  std::map<std::string, const Result*> joined;
  std::vector<std::string> differing;
  for (const Source& source : sources) {
    for (const auto& [name, result] : source.records().results) {
      const auto [known, fresh] = joined.emplace(name, &result);
      if (fresh) {
        continue;
      }
      const bool both_valid = known->second->status == Status::kValid && result.status == Status::kValid;
      if (both_valid && !agree(*known->second, result)) {
        differing.push_back(name);
      } else if (is_better_known(result, *known->second)) {
        known->second = &result;
      }
    }
  }
  if (!differing.empty()) {
    constexpr size_t kShown = 3;
    const std::string more =
        differing.size() > kShown ? "\n  and " + std::to_string(differing.size() - kShown) + " more" : "";
    const size_t count = differing.size();
    differing.resize(std::min(kShown, count));
    throw ConfigError("folders that are joined have the same numbers for the cells that they share, but " +
                      std::to_string(count) + " have others:\n  " + join(differing, "\n  ") + more +
                      "\nCompare them (fusegrid compare); devices of different kinds give other last bits");
  }
  return joined;
}

std::map<std::string, std::vector<std::string>> joined_plans(const std::vector<Source>& sources) {
  std::map<std::string, std::set<std::string>> items;
  for (const Source& source : sources) {
    for (const auto& [job, names] : source.records().plans) {
      items[job].insert(names.begin(), names.end());
    }
  }
  std::map<std::string, std::vector<std::string>> plans;
  for (const auto& [job, names] : items) {
    plans[job] = {names.begin(), names.end()};
  }
  return plans;
}

std::vector<RunInfo> joined_runs(const std::vector<Source>& sources) {
  std::vector<RunInfo> runs;
  for (const Source& source : sources) {
    runs.insert(runs.end(), source.store->runs().begin(), source.store->runs().end());
  }
  const auto started = [](const RunInfo& run) {
    return run.provenance.is_object() ? run.provenance.value("started", std::string()) : std::string();
  };
  std::stable_sort(runs.begin(), runs.end(),
                   [&](const RunInfo& a, const RunInfo& b) { return started(a) < started(b); });
  return runs;
}

void check_same_examples(const Source& one, const Source& other) {
  for (const auto& [key, examples] : other.records().examples) {
    const auto found = one.records().examples.find(key);
    if (found != one.records().examples.end() &&
        (found->second.labels != examples.labels || found->second.groups != examples.groups)) {
      throw ConfigError("folders that are joined have the same examples, but those of task '" +
                        examples.task + "', split '" + examples.split + "' of zoo '" + examples.zoo +
                        "' are others in '" + other.folder.string() + "' than in '" + one.folder.string() +
                        "'");
    }
  }
}

}  // namespace

void join_results(const std::vector<fs::path>& folders, const fs::path& target) {
  if (folders.size() < 2) {
    throw ConfigError("two results folders or more are joined, but there is " +
                      std::to_string(folders.size()));
  }
  check_target(target);
  const std::vector<Source> sources = read_sources(folders);
  for (size_t i = 0; i < sources.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      check_same_bindings(sources[j], sources[i]);
      check_same_examples(sources[j], sources[i]);
    }
  }
  const auto results = joined_results(sources);
  const auto plans = joined_plans(sources);
  const std::vector<RunInfo> runs = joined_runs(sources);
  std::unique_ptr<ResultStore> store;
  for (const RunInfo& run : runs) {
    store.reset();  // frees the lock
    store = ResultStore::open(target, run);
  }
  for (const Source& source : sources) {
    for (const auto& [key, examples] : source.records().examples) {
      store->record_examples(examples);
    }
  }
  for (const auto& [name, result] : results) {
    store->record(*result);
  }
  for (const auto& [job, items] : plans) {
    store->record_plan(job, items);
  }
  store->flush();
  store->publish();
}

}  // namespace fusegrid
