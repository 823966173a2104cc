#include <algorithm>
#include <set>
#include <utility>

#include "core/cell.h"
#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

std::string flag(bool value) {
  return value ? "true" : "false";
}

std::string gap_text(const std::vector<Gap>& gaps) {
  std::vector<std::string> parts;
  for (const Gap& gap : gaps) {
    parts.push_back(gap.cell + ": " + gap.reason);
  }
  return join(parts, "; ");
}

std::string group_key(RowGroup group) {
  switch (group) {
    case RowGroup::kTaskUnknown:
      return "task_unknown";
    case RowGroup::kTaskKnown:
      return "task_known";
    case RowGroup::kReference:
      return "reference";
  }
  FUSEGRID_ASSERT(false, "unknown group of rows");
}

bool any_unseen(const std::vector<Board>& boards) {
  return std::any_of(boards.begin(), boards.end(), [](const Board& board) { return !board.unseen.empty(); });
}

// A column with the name of the results folder comes first where a report is of several.
bool of_several(const std::vector<Board>& boards) {
  return !boards.empty() && !boards[0].source.empty();
}

std::string sourced_record(bool several, const std::string& source, std::vector<std::string> fields) {
  if (several) {
    fields.insert(fields.begin(), source);
  }
  return csv_record(fields);
}

// Of a row's average over unseen tasks.
std::vector<std::string> unseen_fields(const Board& board, const Average& average) {
  if (board.unseen.empty()) {
    return std::vector<std::string>(6);
  }
  return {csv_number(average.value),
          csv_number(average.deviation),
          csv_bound(average.interval, &Interval::low),
          csv_bound(average.interval, &Interval::high),
          flag(average.best),
          flag(average.tied)};
}

std::vector<std::string> row_fields(const Board& board, const Row& row) {
  const MethodRecord& method = row.method;
  std::vector<std::string> seeds;
  for (const int64_t seed : board.seeds) {
    seeds.push_back(number_text(seed));
  }
  return {board.zoo,
          board.experts,
          board.shift,
          group_key(row.group),
          row.rank ? number_text(*row.rank) : "",
          row.setting.method,
          method.title,
          row.setting.parameters,
          number_text(row.tried),
          join(seeds, " "),
          csv_number(row.average.value),
          csv_number(row.average.deviation),
          csv_bound(row.average.interval, &Interval::low),
          csv_bound(row.average.interval, &Interval::high),
          csv_number(row.normalised),
          csv_number(row.at_defaults),
          csv_number(row.best_on_test),
          csv_number(row.average_rank),
          flag(row.average.best),
          flag(row.average.tied),
          csv_number(row.setting.validation_score),
          csv_number(row.setting.test_loss),
          data_used(method),
          flag(method.told_task),
          method.yields,
          csv_number(row.setting.stored_parameters),
          csv_number(row.stored_models),
          gap_text(row.setting.gaps)};
}

}  // namespace

std::string csv_report(const std::vector<Board>& boards) {
  const bool several = of_several(boards);
  std::set<std::pair<std::string, std::string>> columns;  // task and its metric
  for (const Board& board : boards) {
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      columns.emplace(board.tasks[task], board.metrics[task].name);
    }
  }
  std::vector<std::string> header{"zoo",           "experts",
                                  "shift",         "group",
                                  "rank",          "method",
                                  "title",         "parameters",
                                  "tried",         "seeds",
                                  "average",       "average_deviation",
                                  "average_low",   "average_high",
                                  "normalised",    "default",
                                  "best_on_test",  "average_rank",
                                  "best",          "tied",
                                  "validation",    "loss",
                                  "data",          "task_identity",
                                  "yields",        "stored_parameters",
                                  "stored_models", "missing"};
  const bool with_unseen = any_unseen(boards);
  if (with_unseen) {
    header.insert(header.end(),
                  {"unseen", "unseen_deviation", "unseen_low", "unseen_high", "unseen_best", "unseen_tied"});
  }
  for (const auto& [task, metric] : columns) {
    header.push_back(metric + "_" + task);
  }
  std::string text = sourced_record(several, "results", header);
  for (const Board& board : boards) {
    for (const Row& row : board.rows) {
      std::vector<std::string> fields = row_fields(board, row);
      if (with_unseen) {
        const auto unseen = unseen_fields(board, row.unseen);
        fields.insert(fields.end(), unseen.begin(), unseen.end());
      }
      for (const auto& [task, metric] : columns) {
        const auto at = std::find(board.tasks.begin(), board.tasks.end(), task);
        const auto place = static_cast<size_t>(at - board.tasks.begin());
        const bool has = at != board.tasks.end() && board.metrics[place].name == metric;
        fields.push_back(has ? csv_number(row.by_task[place]) : "");
      }
      text += sourced_record(several, board.source, std::move(fields));
    }
  }
  return text;
}

std::string csv_settings(const std::vector<Board>& boards) {
  std::vector<std::string> header{
      "zoo",        "experts", "shift",           "method",    "parameters",        "chosen",
      "validation", "test",    "validation_loss", "test_loss", "stored_parameters", "missing"};
  const bool with_unseen = any_unseen(boards);
  if (with_unseen) {
    header.emplace_back("unseen");
  }
  const bool several = of_several(boards);
  std::string text = sourced_record(several, "results", header);
  for (const Board& board : boards) {
    for (const Setting& setting : board.settings) {
      std::vector<std::string> fields{board.zoo,
                                      board.experts,
                                      board.shift,
                                      setting.method,
                                      setting.parameters,
                                      flag(setting.chosen),
                                      csv_number(setting.validation_score),
                                      csv_number(setting.test_score),
                                      csv_number(setting.validation_loss),
                                      csv_number(setting.test_loss),
                                      csv_number(setting.stored_parameters),
                                      gap_text(setting.gaps)};
      if (with_unseen) {
        fields.push_back(csv_number(setting.unseen_score));
      }
      text += sourced_record(several, board.source, std::move(fields));
    }
  }
  return text;
}

std::string csv_costs(const std::vector<Board>& boards) {
  const bool several = of_several(boards);
  std::string text = sourced_record(several, "results",
                                    {"zoo", "experts", "shift", "method", "parameters", "chosen", "merge_s",
                                     "evaluate_s", "merge_operations", "merge_peak_bytes"});
  for (const Board& board : boards) {
    for (const Setting& setting : board.settings) {
      text += sourced_record(
          several, board.source,
          {board.zoo, board.experts, board.shift, setting.method, setting.parameters, flag(setting.chosen),
           csv_number(setting.merge_seconds), csv_number(setting.evaluate_seconds),
           csv_number(setting.merge_operations), csv_number(setting.merge_peak_bytes)});
    }
  }
  return text;
}

std::string csv_cells(const std::vector<ReportPart>& parts) {
  const auto parameters_of = [](const Result& result) {
    const auto found = result.bindings.find("parameters");
    return parse_call("m{" + (found == result.bindings.end() ? "" : found->second) + "}").second;
  };
  std::set<std::string> columns;
  for (const ReportPart& part : parts) {
    for (const auto& [name, result] : part.records.results) {
      for (const auto& [parameter, value] : parameters_of(result)) {
        columns.insert(parameter);
      }
    }
  }
  const bool several = parts.size() > 1;
  std::vector<std::string> header{"zoo",   "experts", "method", "seed",  "task",   "shift",
                                  "split", "metric",  "value",  "count", "status", "reason"};
  for (const std::string& column : columns) {
    header.push_back("parameter_" + column);
  }
  std::string text = sourced_record(several, "results", header);
  for (const ReportPart& part : parts) {
    for (const auto& [name, result] : part.records.results) {
      const Cell cell = Cell::parse(name);
      const ParamText parameters = parameters_of(result);
      const auto add = [&](const std::vector<std::string>& number) {
        std::vector<std::string> fields{cell.zoo,  cell.experts, cell.method, number_text(cell.seed),
                                        cell.task, cell.shift};
        fields.insert(fields.end(), number.begin(), number.end());
        fields.insert(fields.end(), {to_string(result.status), result.reason});
        for (const std::string& column : columns) {
          const auto found = parameters.find(column);
          fields.push_back(found == parameters.end() ? "" : found->second);
        }
        text += sourced_record(several, part.name, std::move(fields));
      };
      for (const Metric& metric : result.metrics) {
        add({metric.split, metric.name, number_text(metric.value), number_text(metric.count)});
      }
      if (result.metrics.empty()) {
        add({"", "", "", ""});
      }
    }
  }
  return text;
}

}  // namespace fusegrid
