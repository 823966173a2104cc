#include "worker/recorder.h"

#include <cmath>

#include "core/text.h"

namespace fusegrid {
namespace {

// An expert whose accuracy is further from what zoo.json recorded is not the model that the zoo describes.
constexpr double kScoreTolerance = 0.01;

}  // namespace

std::optional<std::string> distrust(const Cell& cell, const std::string& split, const Answers& answers,
                                    std::optional<double> recorded_score) {
  if (!answers.finite) {
    return "the model's logits on " + split + " are not finite";
  }
  const bool is_expert = cell.method == "individual" && (cell.shift == "clean" || split == "val");
  if (is_expert && recorded_score && std::abs(*recorded_score - answers.accuracy) > kScoreTolerance) {
    return "the expert's accuracy on " + split + " is " + number_text(answers.accuracy) +
           ", but zoo.json recorded " + number_text(*recorded_score);
  }
  return std::nullopt;
}

void record(const Cell& cell, const std::map<std::string, Answers>& answers,
            const std::map<std::string, double>& recorded_scores, Result& result) {
  for (const std::string split : {"val", "test"}) {
    const Answers& of_split = answers.at(split);
    const auto count = static_cast<int64_t>(of_split.correct.size());
    result.metrics.push_back({"accuracy", split, of_split.accuracy, count});
    result.metrics.push_back({"loss", split, of_split.loss, count});
    result.outcomes.push_back({split, "accuracy", 1, {of_split.correct.begin(), of_split.correct.end()}});
    result.predictions.push_back({split, {of_split.predictions.begin(), of_split.predictions.end()}});
    const auto recorded = recorded_scores.find(cell.task + "/" + split);
    const auto score = recorded == recorded_scores.end() ? std::nullopt : std::optional(recorded->second);
    if (const auto reason = distrust(cell, split, of_split, score);
        reason && result.status == Status::kValid) {
      result.status = Status::kInvalid;
      result.reason = *reason;
    }
  }
}

}  // namespace fusegrid
