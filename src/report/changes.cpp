#include "report/changes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include <boost/math/distributions/students_t.hpp>

#include "core/cell.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"
#include "report/interval.h"
#include "report/markup.h"
#include "report/paired.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

// What the single groups of a task do to a difference: the jackknife's pseudo-values less their mean.
using Influence = std::vector<double>;

// A cell that is valid in both folders.
struct Pair {
  Cell cell;
  TaskMetric metric;
  double before = 0, after = 0;
  std::optional<Influence> influence = {};  // [groups] of after - before
};

// The split that is compared.
std::string split_of(const Result& before, const Result& after) {
  return splits_of(before).contains("test") && splits_of(after).contains("test") ? "test" : "val";
}

// Whether both folders scored the same examples, as far as they say.
bool same_examples(const Records& before, const Records& after, const Cell& cell, const std::string& split) {
  const auto key = std::tuple(cell.zoo, cell.task, split);
  const auto one = before.examples.find(key);
  const auto other = after.examples.find(key);
  return one == before.examples.end() || other == after.examples.end() ||
         (one->second.labels == other->second.labels && one->second.groups == other->second.groups);
}

// The metric without each of the groups: [groups]. Absent where it is undefined without one.
std::optional<std::vector<double>> without_each(const MetricRule& rule, const MetricRows& rows,
                                                const Grouping& grouping) {
  std::vector<double> sums(rows.width, 0.0);
  for (const MetricRows::Entry& entry : rows.entries) {
    sums[entry.column] += entry.value;
  }
  const std::vector<GroupSums::Entry> of_groups = sums_of({rows}, grouping).entries;
  auto next = of_groups.begin();
  std::vector<double> values;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    std::vector<double> rest = sums;
    for (; next != of_groups.end() && next->group == g; ++next) {
      rest[next->column] -= next->value;
    }
    const auto examples = static_cast<double>(rows.examples - grouping.groups[g].size());
    const std::optional<double> value = examples > 0 ? rule.finish(rest, examples) : std::nullopt;
    if (!value) {
      return std::nullopt;
    }
    values.push_back(*value);
  }
  return values;
}

std::optional<Influence> influence_of(const Records& before, const Records& after, const Pair& pair,
                                      const Result& one, const Result& other, const std::string& split) {
  const auto rows = rows_of(before, one, pair.cell.zoo, pair.cell.task, pair.metric, split);
  const auto other_rows = rows_of(after, other, pair.cell.zoo, pair.cell.task, pair.metric, split);
  if (!rows || !other_rows || rows->examples != other_rows->examples ||
      !same_examples(before, after, pair.cell, split)) {
    return std::nullopt;
  }
  const auto recorded = before.examples.find({pair.cell.zoo, pair.cell.task, split});
  const bool fits = recorded != before.examples.end() && recorded->second.groups.size() == rows->examples;
  const Grouping grouping = grouping_of(fits ? &recorded->second : nullptr, rows->examples);
  if (grouping.groups.size() < 2) {
    return std::nullopt;
  }
  const auto left = without_each(*pair.metric.rule, *rows, grouping);
  const auto right = without_each(*pair.metric.rule, *other_rows, grouping);
  if (!left || !right) {
    return std::nullopt;
  }
  Influence influence;
  const auto n = static_cast<double>(grouping.groups.size());
  double mean = 0;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    influence.push_back(-(n - 1) * ((*right)[g] - (*left)[g]));
    mean += influence.back() / n;
  }
  for (double& value : influence) {
    value -= mean;
  }
  return influence;
}

// Of no difference, where it is the sum of parts that are drawn apart: each the influences of one task's groups.
double p_value(double difference, const std::vector<Influence>& parts) {
  std::vector<Variance> variances;
  for (const Influence& part : parts) {
    const auto n = static_cast<double>(part.size());
    double squares = 0;
    for (const double value : part) {
      squares += value * value;
    }
    variances.push_back({squares / (n * (n - 1)), n - 1});
  }
  if (difference == 0) {
    return 1;
  }
  const Variance sum = sum_of(variances);
  if (sum.value == 0) {
    return 0;  // all groups moved alike
  }
  const boost::math::students_t distribution(sum.freedom);
  return 2 *
         boost::math::cdf(boost::math::complement(distribution, std::abs(difference) / std::sqrt(sum.value)));
}

// Judges numbers whose p is known, all together.
void judge(std::vector<Compared>& compared) {
  constexpr double kLevel = 0.05;
  std::vector<Compared*> tested;
  for (Compared& each : compared) {
    if (each.before == each.after) {
      continue;
    }
    each.change = Change::kNoise;
    if (each.p) {
      tested.push_back(&each);
    } else if (std::abs(each.after - each.before) > each.metric.tolerance) {
      each.change = is_better(each.metric.better, each.after, each.before) ? Change::kBetter : Change::kWorse;
    }
  }
  std::stable_sort(tested.begin(), tested.end(),
                   [](const Compared* a, const Compared* b) { return *a->p < *b->p; });
  for (size_t i = 0; i < tested.size(); ++i) {
    Compared& each = *tested[i];
    if (*each.p > kLevel / static_cast<double>(tested.size() - i)) {
      break;
    }
    if (std::abs(each.after - each.before) > each.metric.tolerance / 10) {
      each.change = is_better(each.metric.better, each.after, each.before) ? Change::kBetter : Change::kWorse;
    }
  }
}

std::string setting_name(const Cell& cell) {
  return cell.zoo + "/experts=" + cell.experts + "/" + cell.method_text() +
         (cell.shift == "clean" ? "" : "@" + cell.shift);
}

// The mean over its cells; seeds of one task share its examples.
Compared compare_setting(const std::string& name, const std::vector<const Pair*>& pairs) {
  Compared compared{.name = name, .metric = pairs[0]->metric};
  const auto cells = static_cast<double>(pairs.size());
  std::map<std::string, Influence> of_tasks;
  bool known = true;
  for (const Pair* pair : pairs) {
    compared.before += pair->before / cells;
    compared.after += pair->after / cells;
    Influence& sum = of_tasks[pair->cell.task];
    if (!pair->influence || (!sum.empty() && sum.size() != pair->influence->size())) {
      known = false;
      continue;
    }
    sum.resize(pair->influence->size(), 0.0);
    for (size_t g = 0; g < sum.size(); ++g) {
      sum[g] += (*pair->influence)[g] / cells;
    }
  }
  if (known) {
    std::vector<Influence> parts;
    for (auto& [task, influence] : of_tasks) {
      parts.push_back(std::move(influence));
    }
    compared.p = p_value(compared.after - compared.before, parts);
  }
  return compared;
}

std::vector<Compared> compare_settings(const std::vector<Pair>& pairs) {
  std::map<std::string, std::vector<const Pair*>> settings;
  for (const Pair& pair : pairs) {
    settings[setting_name(pair.cell)].push_back(&pair);
  }
  std::vector<Compared> compared;
  for (const auto& [name, members] : settings) {
    const bool one_metric = std::all_of(members.begin(), members.end(), [&](const Pair* pair) {
      return pair->metric.same_as(members[0]->metric);
    });
    if (members.size() > 1 && one_metric) {
      compared.push_back(compare_setting(name, members));
    }
  }
  judge(compared);
  return compared;
}

// Sorts the names of both into those of one folder alone, and those that are valid in one alone; returns the others.
std::vector<std::string> valid_in_both(const Records& before, const Records& after, Changes& changes) {
  std::vector<std::string> both;
  for (const auto& [name, result] : before.results) {
    const auto found = after.results.find(name);
    if (found == after.results.end()) {
      changes.only_before.push_back(name);
      continue;
    }
    const bool was_valid = result.status == Status::kValid;
    const bool is_valid = found->second.status == Status::kValid;
    if (was_valid && is_valid) {
      both.push_back(name);
    } else if (was_valid || is_valid) {
      (was_valid ? changes.broken : changes.mended).push_back(name);
    }
  }
  for (const auto& [name, result] : after.results) {
    if (!before.results.contains(name)) {
      changes.only_after.push_back(name);
    }
  }
  return both;
}

std::vector<std::string> other_bindings(const Records& before, const Records& after) {
  std::vector<std::string> lines;
  for (const auto& [key, binding] : before.bindings) {
    const auto found = after.bindings.find(key);
    if (found != after.bindings.end() && found->second.value != binding.value) {
      lines.push_back(key + ": " + binding.value + " -> " + found->second.value);
    }
  }
  return lines;
}

std::string value_of_metric(const TaskMetric& metric, double value) {
  return metric.unit == to_string(Unit::kFraction) ? number_text(std::round(value * 1e4) / 100) + " %"
                                                   : number_text(value);
}

std::string change_text(const Compared& compared) {
  std::string text = "  " + std::string(compared.change == Change::kWorse ? "worse" : "better") + "  " +
                     compared.name + "  " + value_of_metric(compared.metric, compared.before) + " -> " +
                     value_of_metric(compared.metric, compared.after) + " (" + compared.metric.name;
  if (compared.p) {
    text += *compared.p < 1e-6 ? ", p below 1e-6" : ", p " + number_text(std::round(*compared.p * 1e6) / 1e6);
  } else {
    text += ", no outcomes of examples to tell it from noise by";
  }
  return text + ")\n";
}

std::string summary(const std::vector<Compared>& compared, const std::string& what) {
  std::map<Change, int64_t> counts;
  for (const Compared& each : compared) {
    ++counts[each.change];
  }
  std::string text = count_text(static_cast<int64_t>(compared.size()), what) +
                     " in both: " + number_text(counts[Change::kNone]) + " equal, " +
                     number_text(counts[Change::kNoise]) + " within noise, " +
                     number_text(counts[Change::kWorse]) + " worse, " + number_text(counts[Change::kBetter]) +
                     " better\n";
  for (const Change change : {Change::kWorse, Change::kBetter}) {
    for (const Compared& each : compared) {
      text += each.change == change ? change_text(each) : "";
    }
  }
  return text;
}

std::string list_text(const std::string& heading, const std::vector<std::string>& lines) {
  constexpr size_t kShown = 10;
  if (lines.empty()) {
    return "";
  }
  std::string text = heading + ": " + std::to_string(lines.size()) + "\n";
  for (size_t i = 0; i < std::min(kShown, lines.size()); ++i) {
    text += "  " + lines[i] + "\n";
  }
  return text + (lines.size() > kShown ? "  ...\n" : "");
}

std::string word_of(Change change) {
  switch (change) {
    case Change::kNone:
      return "equal";
    case Change::kNoise:
      return "noise";
    case Change::kWorse:
      return "worse";
    case Change::kBetter:
      return "better";
  }
  FUSEGRID_ASSERT(false, "unknown change");
}

}  // namespace

bool Changes::differ() const {
  const auto beyond = [](const std::vector<Compared>& compared) {
    return std::any_of(compared.begin(), compared.end(), [](const Compared& each) {
      return each.change == Change::kWorse || each.change == Change::kBetter;
    });
  };
  return !broken.empty() || beyond(cells) || beyond(settings);
}

Changes compare_results(const Records& before, const Records& after) {
  Changes changes;
  std::vector<Pair> pairs;
  for (const std::string& name : valid_in_both(before, after, changes)) {
    const Result& one = before.results.at(name);
    const Result& other = after.results.at(name);
    const Cell cell = Cell::parse(name);
    Pair pair{.cell = cell, .metric = primary_metric(before, cell.zoo, cell.task)};
    const std::string split = split_of(one, other);
    const Metric* was = find_metric(&one, pair.metric.name, split);
    const Metric* is = find_metric(&other, pair.metric.name, split);
    if (was == nullptr || is == nullptr) {
      if (was != nullptr || is != nullptr) {
        (was != nullptr ? changes.broken : changes.mended).push_back(name);
      }
      continue;
    }
    pair.before = was->value;
    pair.after = is->value;
    pair.influence = influence_of(before, after, pair, one, other, split);
    pairs.push_back(std::move(pair));
  }
  if (pairs.empty() && changes.broken.empty() && changes.mended.empty()) {
    throw ConfigError(
        "two folders are compared by the cells that both have, but they share none; 'fusegrid "
        "status' counts those of a folder");
  }
  for (const Pair& pair : pairs) {
    Compared& compared = changes.cells.emplace_back(
        Compared{pair.cell.name(), pair.metric, pair.before, pair.after, std::nullopt, Change::kNone});
    if (pair.influence) {
      compared.p = p_value(pair.after - pair.before, {*pair.influence});
    }
  }
  judge(changes.cells);
  changes.settings = compare_settings(pairs);
  changes.bindings = other_bindings(before, after);
  return changes;
}

std::string changes_text(const Changes& changes) {
  return list_text("made from other models or data", changes.bindings) +
         list_text("no longer valid", changes.broken) + list_text("valid only now", changes.mended) +
         list_text("only in the first folder", changes.only_before) +
         list_text("only in the second folder", changes.only_after) + summary(changes.cells, "cell") +
         summary(changes.settings, "setting");
}

std::string csv_changes(const Changes& changes) {
  std::string text = csv_record({"of", "name", "metric", "before", "after", "p", "change"});
  const auto add = [&](const std::string& of, const std::vector<Compared>& compared) {
    for (const Compared& each : compared) {
      text += csv_record({of, each.name, each.metric.name, csv_number(each.before), csv_number(each.after),
                          csv_number(each.p), word_of(each.change)});
    }
  };
  add("cell", changes.cells);
  add("setting", changes.settings);
  return text;
}

}  // namespace fusegrid
