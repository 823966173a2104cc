#include "worker/recorder.h"

#include <cmath>

#include "core/text.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

void distrust_result(Result& result, const std::optional<std::string>& reason) {
  if (reason && result.status == Status::kValid) {
    result.status = Status::kInvalid;
    result.reason = *reason;
  }
}

}  // namespace

std::optional<std::string> distrust(const Cell& cell, const std::string& split, const Answers& answers,
                                    const std::map<std::string, double>& recorded_scores) {
  if (!answers.finite) {
    return "the model's outputs on " + split + " are not finite";
  }
  if (cell.method != "individual" || (cell.shift != "clean" && split == "test")) {
    return std::nullopt;
  }
  for (const auto& [metric, score] : recorded_scores) {
    const auto seen = answers.metrics.find(metric);
    // a number that no rule makes has no tolerance; an expert whose score is further from what zoo.json recorded is not
    // the model that the zoo describes
    if (seen != answers.metrics.end() && metric_registry().contains(metric) &&
        std::abs(score - seen->second) > metric_registry().at(metric).tolerance) {
      return "the expert's " + metric + " on " + split + " is " + number_text(seen->second) +
             ", but zoo.json recorded " + number_text(score);
    }
  }
  return std::nullopt;
}

void record(const Cell& cell, const std::map<std::string, Answers>& answers,
            const std::map<std::string, double>& recorded_scores, Result& result) {
  for (const std::string split : {"val", "test"}) {
    if (!answers.contains(split)) {
      continue;
    }
    const Answers& of_split = answers.at(split);
    for (const auto& [metric, value] : of_split.metrics) {
      result.metrics.push_back({metric, split, value, of_split.examples});
    }
    for (Outcomes outcomes : of_split.outcomes) {
      outcomes.split = split;
      result.outcomes.push_back(std::move(outcomes));
    }
    for (const auto& [fact, text] : of_split.facts) {
      result.facts.emplace(fact + " " + split, text);
    }
    if (!of_split.predictions.empty()) {
      result.predictions.push_back({split, of_split.predictions});
    }
    const auto scores = scores_below(recorded_scores, cell.task + "/" + split + "/");
    distrust_result(result, distrust(cell, split, of_split, scores));
  }
}

}  // namespace fusegrid
