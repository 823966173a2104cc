#include "report/layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

constexpr size_t kReasonLength = 160;  // longer messages are in results.h5
constexpr size_t kGapsShown = 3;

std::string one_line(const std::string& text) {
  std::string line = text;
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  if (line.size() > kReasonLength) {
    size_t end = kReasonLength;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) {
      --end;  // not inside a UTF-8 character
    }
    line = line.substr(0, end) + "...";
  }
  return line;
}

std::string example_note(const Board& board) {
  const bool same = std::adjacent_find(board.examples.begin(), board.examples.end(), std::not_equal_to<>()) ==
                    board.examples.end();
  if (same) {
    return "Test examples per task: " + std::to_string(board.examples[0]) + ".";
  }
  std::vector<std::string> parts;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    parts.push_back(board.tasks[task] + " " + std::to_string(board.examples[task]));
  }
  return "Test examples: " + join(parts, ", ") + ".";
}

// What the intervals rest on.
std::string group_note(const Board& board) {
  constexpr int64_t kFewest = 5;
  std::vector<std::string> parts;
  std::vector<std::string> without;
  bool few = false;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    if (const auto& groups = board.groups[task]) {
      parts.push_back(board.tasks[task] + " " + std::to_string(*groups));
      few = few || *groups < kFewest;
    } else {
      without.push_back(board.tasks[task]);
    }
  }
  if (parts.empty()) {
    return "Groups of examples are not recorded: intervals take each example for an independent draw.";
  }
  std::string text = "Groups of test examples that share a source: " + join(parts, ", ") + ".";
  if (!without.empty()) {
    text += " Of " + join(without, ", ") +
            " they are not recorded: intervals take each example for an independent draw.";
  }
  if (few) {
    text += " Intervals over fewer than " + std::to_string(kFewest) + " groups are too short.";
  }
  return text;
}

std::string seed_note(const Board& board) {
  std::vector<std::string> seeds;
  for (const int64_t seed : board.seeds) {
    seeds.push_back(std::to_string(seed));
  }
  if (seeds.size() == 1) {
    return "One seed (" + seeds[0] + "): nothing is known about the spread over replicates.";
  }
  const std::string mean = "Mean over " + std::to_string(seeds.size()) + " seeds (" + join(seeds, ", ") + ")";
  return board.same_models ? mean +
                                 " of the methods' random numbers, all on the same models: nothing is known "
                                 "about the spread over replicates."
                           : mean + "; ± is the standard deviation of the average over seeds.";
}

// Rows whose chosen values lie at the edge of what was tried.
std::optional<std::string> edge_note(const Board& board) {
  std::vector<std::string> parts;
  for (const Row& row : board.rows) {
    if (row.average.value && !row.at_edge.empty()) {
      parts.push_back(row.method.title + " " + join(row.at_edge, " "));
    }
  }
  if (parts.empty()) {
    return std::nullopt;
  }
  return "Chosen at the edge of the values tried, so that better ones may lie beyond: " + join(parts, ", ") +
         ".";
}

// "%", "nats"; "" for numbers without a unit
std::string unit_text(const std::string& unit) {
  if (unit == to_string(Unit::kFraction)) {
    return "%";
  }
  return unit == to_string(Unit::kNone) ? "" : unit;
}

bool is_of_accuracy(const Score& score) {
  return score.name == "accuracy";
}

// "MCC, higher is better", "Cross-entropy in nats, lower is better"
std::string metric_text(const std::string& title, const std::string& unit, Better better) {
  const std::string text = unit_text(unit);
  return title + (text.empty() ? "" : " in " + text) + ", " + to_string(better) + " is better";
}

// "average", with the score where that is not the accuracy
std::string score_words(const Score& score) {
  if (score.relative) {
    return "relative score in %";
  }
  return is_of_accuracy(score) ? "average"
                               : "average (" + metric_text(score.title, score.unit, score.better) + ")";
}

std::string experts_text(const std::string& experts) {
  return is_count(experts) ? experts + (experts == "1" ? " expert" : " experts") : "experts " + experts;
}

// What the numbers of a board are, where they are no accuracies.
std::string score_note(const Board& board) {
  if (!board.score.relative) {
    return "Scores: " + metric_text(board.score.title, board.score.unit, board.score.better) + ".";
  }
  std::vector<std::string> parts;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    const TaskMetric& metric = board.metrics[task];
    parts.push_back(board.tasks[task] + ": " + metric_text(metric.title, metric.unit, metric.better));
  }
  return "Metrics of the tasks: " + join(parts, "; ") + ".";
}

// What is not in the average that a board with unseen tasks ranks by.
std::string unseen_note(const Board& board) {
  return "Unseen tasks, which no merged expert owns: " + join(board.unseen, ", ") +
         ". The others are seen: parameters are chosen, rows ranked and Norm. taken by these alone. Methods "
         "that "
         "are told the task answer seen tasks alone.";
}

// "0.62 (lowest 0.33, emoji)"
std::string agreement_text(const Agreement& agreement) {
  return fixed(agreement.mean, 2) + " (lowest " + fixed(agreement.lowest, 2) + ", " + agreement.where + ")";
}

std::string ranking_note(const GroupRanking& ranking) {
  const RankComparison& ranks = ranking.ranks;
  std::string text = "Order of \"" + group_title(ranking.group) + "\", " + std::to_string(ranking.rows) +
                     " rows: average ranks over tasks differ at 5 % where they are " +
                     fixed(ranks.critical_difference, 1) + " apart (Nemenyi; Friedman's p " +
                     (ranks.p < 0.001 ? "below 0.001" : "is " + fixed(ranks.p, 3)) + ").";
  if (ranking.tasks) {
    text += " Kendall's tau of a task's order with the board's: " + agreement_text(*ranking.tasks) + ".";
  }
  if (ranking.seeds) {
    text += " Of the orders of two seeds: " + agreement_text(*ranking.seeds) + ".";
  }
  return text;
}

std::string device_note(const Board& board) {
  const std::string all = join({board.devices.begin(), board.devices.end()}, "; ");
  return board.devices.size() == 1
             ? "Made on " + all + "."
             : "Made on devices of several kinds, which give other last bits: " + all + ".";
}

}  // namespace

std::string fixed(double value, int digits) {
  std::array<char, 400> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
  FUSEGRID_ASSERT(end.ec == std::errc(), "a number does not fit");
  return {buffer.data(), end.ptr};
}

std::string percent(const std::optional<double>& fraction, int digits) {
  return fraction ? fixed(100 * *fraction, digits) : "-";
}

std::string significant(double value) {
  constexpr int kDigits = 4;
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific, kDigits - 1);
  FUSEGRID_ASSERT(end.ec == std::errc(), "a number does not fit");
  const std::string text(buffer.data(), end.ptr);
  const auto exponent = std::strtol(text.c_str() + text.find('e') + 1, nullptr, 10);  // of the rounded number
  constexpr int kWidest = 7;
  if (exponent < -kWidest || exponent > kWidest) {
    return text;
  }
  return fixed(value, std::max(0, kDigits - 1 - static_cast<int>(exponent)));
}

std::string value_text(const std::optional<double>& value, const std::string& unit, int digits) {
  if (unit == to_string(Unit::kFraction)) {
    return percent(value, digits);
  }
  return value ? significant(*value) : "-";
}

std::string csv_bound(const std::optional<Interval>& interval, double Interval::*end) {
  return interval ? number_text(*interval.*end) : "";
}

std::string source_prefix(const Board& board) {
  return board.source.empty() ? "" : board.source + ": ";
}

std::vector<std::string> task_columns(const Board& board) {
  std::vector<std::string> columns;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    const TaskMetric& metric = board.metrics[task];
    const std::string unit = unit_text(metric.unit);
    columns.push_back(board.tasks[task] + (board.score.relative
                                               ? " (" + metric.title + (unit.empty() ? "" : ", " + unit) + ")"
                                               : ""));
  }
  return columns;
}

std::vector<AverageColumn> average_columns(const Board& board) {
  if (board.unseen.empty()) {
    return {{board.score.relative ? "Relative" : "Average", &Row::average}};
  }
  const std::string what = board.score.relative ? ", relative" : "";
  return {{"Seen" + what, &Row::average}, {"Unseen" + what, &Row::unseen}};
}

std::string scaling_title(const Scaling& scaling) {
  const std::string end = " against the number of experts";
  if (scaling.score.relative) {
    return "relative score in %" + end;
  }
  return is_of_accuracy(scaling.score)
             ? "average" + end
             : "average" + end + " (" +
                   metric_text(scaling.score.title, scaling.score.unit, scaling.score.better) + ")";
}

std::string size_title(const SizeSeries& series) {
  return series.family + ": " + score_words(series.score) + " against the size of a model, " +
         experts_text(series.experts) + (series.shift == "clean" ? "" : ", " + series.shift);
}

std::string board_title(const Board& board) {
  const std::string title = source_prefix(board) + board.zoo + ", " + experts_text(board.experts);
  return board.shift == "clean" ? title : title + ", " + board.shift;
}

std::string group_title(RowGroup group) {
  switch (group) {
    case RowGroup::kTaskUnknown:
      return "Task not told";
    case RowGroup::kTaskKnown:
      return "Task told";
    case RowGroup::kReference:
      return "References";
  }
  FUSEGRID_ASSERT(false, "unknown group of rows");
}

std::string data_used(const MethodRecord& method) {
  return method.data.empty() ? "-" : method.data;
}

std::string shown_parameters(const Row& row) {
  if (row.setting.parameters.empty()) {
    return "-";
  }
  const auto named = split(row.setting.named, ',');
  std::vector<std::string> shown;
  for (const std::string& part : split(row.setting.parameters, ',')) {
    const std::string name = part.substr(0, part.find('='));
    const bool is_named = std::find(named.begin(), named.end(), part) != named.end();
    if (is_named || std::find(row.tuned.begin(), row.tuned.end(), name) != row.tuned.end()) {
      shown.push_back(part);
    }
  }
  return shown.empty() ? "defaults" : join(shown, ", ");
}

std::string stored_text(const Row& row) {
  if (row.stored_models) {
    return fixed(*row.stored_models, 1) + "x";
  }
  return row.setting.stored_parameters ? fixed(*row.setting.stored_parameters, 0) : "-";
}

std::string interval_text(const Average& average, const std::string& unit, const std::string& dash) {
  const auto& interval = average.interval;
  return interval ? value_text(interval->low, unit) + dash + value_text(interval->high, unit) : "-";
}

ChoiceTexts choice_texts(const Board& board, const Row& row) {
  const auto text = [&](const std::optional<double>& value) {
    return value_text(value, board.score.unit, 2);
  };
  return {std::to_string(row.tried), text(row.at_defaults), text(row.average.value), text(row.best_on_test),
          row.average_rank ? fixed(*row.average_rank, 1) : "-"};
}

std::vector<std::string> order_notes(const std::vector<BoardAgreement>& agreements) {
  std::vector<std::string> notes;
  for (const BoardAgreement& agreement : agreements) {
    notes.push_back(board_title(*agreement.first) + " and " + board_title(*agreement.second) + ", \"" +
                    group_title(agreement.group) + "\": Kendall's tau " + fixed(agreement.tau, 2) + " of " +
                    std::to_string(agreement.methods) + " methods.");
  }
  return notes;
}

std::vector<std::string> board_notes(const Board& board) {
  std::vector<std::string> notes;
  if (!is_of_accuracy(board.score)) {
    notes.push_back(score_note(board));
  }
  if (!board.unseen.empty()) {
    notes.push_back(unseen_note(board));
  }
  notes.push_back(example_note(board) + " " + seed_note(board));
  notes.push_back(group_note(board));
  if (!board.devices.empty()) {
    notes.push_back(device_note(board));
  }
  if (const auto edges = edge_note(board)) {
    notes.push_back(*edges);
  }
  for (const GroupRanking& ranking : board.rankings) {
    notes.push_back(ranking_note(ranking));
  }
  for (const Row& row : board.rows) {
    const std::vector<Gap>& gaps = row.setting.gaps;
    std::vector<std::string> parts;
    for (size_t i = 0; i < std::min(gaps.size(), kGapsShown); ++i) {
      parts.push_back(one_line(gaps[i].cell) + ": " + one_line(gaps[i].reason));
    }
    if (gaps.size() > kGapsShown) {
      parts.push_back("and " + std::to_string(gaps.size() - kGapsShown) + " more");
    }
    if (!gaps.empty()) {
      notes.push_back("Incomplete, hence without " +
                      std::string(board.unseen.empty() ? "an average" : "one of the averages") + ": " +
                      row.method.title + ". " + join(parts, "; ") + ".");
    }
  }
  notes.insert(notes.end(), board.notes.begin(), board.notes.end());
  return notes;
}

std::vector<std::string> reading_notes(const std::vector<Board>& boards, const std::string& best,
                                       const std::string& tied) {
  const bool accuracies = std::all_of(boards.begin(), boards.end(),
                                      [](const Board& board) { return is_of_accuracy(board.score); });
  const std::string numbers =
      accuracies
          ? "Accuracies in % on the test split. A method's parameters are those with the highest validation "
            "accuracy "
          : "Scores on the test split: fractions in %, other numbers with four significant digits. A "
            "method's "
            "parameters are those with the best validation score ";
  const std::string normalised =
      accuracies
          ? "Norm.: mean over tasks of accuracy / accuracy of the task's own expert, in %. "
          : "Norm. and Relative: mean over tasks of 1 + s (score - own) / |own|, in %, with own the score of "
            "the task's own expert and s = 1 where higher is better, else -1. ";
  return {
      numbers + "(mean over tasks and seeds) among the settings tried; test data took no part in the choice.",
      "95 %: interval of the average for other examples and, with several seeds, other seeds: Student's t "
      "with "
      "variances from a paired bootstrap over groups of test examples that share a source, stratified by "
      "task, " +
          std::to_string(kResamples) +
          " resamples, and from the seeds. It does not cover the choice of parameters or of experts.",
      best + ": best average of its group; " + tied +
          ": tied with it (the interval of the difference, corrected for the number of rows, contains 0). "
          "Methods that are told the task of each input are a group of their own; references take no part, "
          "nor "
          "have they a rank.",
      "Default: with no parameter set; Chosen: what validation chose, which the board reports; Best on test: "
      "the "
      "best of the settings tried by test data, which nobody may report as a result. Mean rank: mean over "
      "tasks of "
      "the rank on the task.",
      normalised +
          "Data: what the fusion saw "
          "besides the models. Stored: numbers kept to serve all tasks, 1.0x = one model. "
          "Seconds are in costs.md.",
  };
}

}  // namespace fusegrid
