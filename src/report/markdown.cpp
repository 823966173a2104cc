#include <algorithm>
#include <set>
#include <utility>

#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/table_layout.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

// Adds the rows of a board with a heading above each group; `cells` makes the text of one row.
template <typename MakeCells>
void add_rows(MarkdownTable& table, const Board& board, const MakeCells& cells) {
  for (size_t i = 0; i < board.rows.size(); ++i) {
    if (i == 0 || board.rows[i].group != board.rows[i - 1].group) {
      std::vector<std::string> heading(table.header.size());
      heading[0] = "*" + group_title(board.rows[i].group) + "*";
      table.rows.push_back(std::move(heading));
    }
    table.rows.push_back(cells(board.rows[i]));
  }
}

std::string seconds(const std::optional<double>& value) {
  return value ? fixed(*value, 2) : "-";
}

std::string average_text(const Average& average, const std::string& unit) {
  std::string text = value_text(average.value, unit, 2);
  if (average.deviation) {
    text += " ± " + value_text(average.deviation, unit, 2);
  }
  if (average.best) {
    return "**" + text + "**";
  }
  return average.tied ? text + " †" : text;
}

MarkdownTable score_table(const Board& board) {
  MarkdownTable table;
  table.header = {"Method"};
  for (const std::string& column : task_columns(board)) {
    table.header.push_back(escape_markdown(column));
  }
  const std::vector<AverageColumn> averages = average_columns(board);
  for (const AverageColumn& column : averages) {
    table.header.insert(table.header.end(), {column.heading, "95 %"});
  }
  if (!board.score.relative) {
    table.header.emplace_back("Norm.");
  }
  table.header.emplace_back("Rank");
  table.right.assign(table.header.size(), true);
  table.right[0] = false;
  add_rows(table, board, [&](const Row& row) {
    const std::string& unit = board.score.unit;
    std::vector<std::string> cells{escape_markdown(row.method.title)};
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      cells.push_back(value_text(row.by_task[task], board.metrics[task].unit));
    }
    for (const AverageColumn& column : averages) {
      cells.push_back(average_text(row.*column.average, unit));
      cells.push_back(interval_text(row.*column.average, unit));
    }
    if (!board.score.relative) {
      cells.push_back(percent(row.normalised));
    }
    cells.push_back(row.rank ? std::to_string(*row.rank) : "-");
    return cells;
  });
  return table;
}

MarkdownTable cost_table(const Board& board) {
  MarkdownTable table;
  table.header = {"Method", "Data", "Task identity", "Yields", "Stored"};
  table.right = {false, false, false, false, true};
  add_rows(table, board, [](const Row& row) {
    const MethodRecord& method = row.method;
    return std::vector<std::string>{escape_markdown(method.title), data_used(method),
                                    method.told_task ? "yes" : "no", method.yields, stored_text(row)};
  });
  return table;
}

MarkdownTable choice_table(const Board& board) {
  MarkdownTable table;
  table.header = {"Method", "Tried", "Default", "Chosen", "Best on test", "Mean rank", "Parameters"};
  table.right = {false, true, true, true, true, true, false};
  add_rows(table, board, [&](const Row& row) {
    const ChoiceTexts texts = choice_texts(board, row);
    return std::vector<std::string>{escape_markdown(row.method.title),
                                    texts.tried,
                                    texts.at_defaults,
                                    texts.chosen,
                                    texts.best_on_test,
                                    texts.average_rank,
                                    escape_markdown(shown_parameters(row))};
  });
  return table;
}

// Fusion at all settings, mean over seeds; absent where none was timed.
std::optional<double> all_merges(const Board& board, const Row& row) {
  std::optional<double> sum;
  for (const Setting& setting : board.settings) {
    if (setting.method == row.setting.method && setting.merge_seconds) {
      sum = sum.value_or(0) + *setting.merge_seconds;
    }
  }
  return sum;
}

MarkdownTable timing_table(const Board& board) {
  MarkdownTable table;
  table.header = {"Method", "Merge", "Merges of all settings", "Evaluation of a task"};
  table.right = {false, true, true, true};
  add_rows(table, board, [&](const Row& row) {
    return std::vector<std::string>{escape_markdown(row.method.title), seconds(row.setting.merge_seconds),
                                    seconds(all_merges(board, row)), seconds(row.setting.evaluate_seconds)};
  });
  return table;
}

MarkdownTable scaling_table(const Scaling& scaling) {
  MarkdownTable table;
  table.header = {"Method"};
  for (const int64_t experts : scaling.experts) {
    table.header.push_back(std::to_string(experts));
  }
  table.right.assign(table.header.size(), true);
  table.right[0] = false;
  for (const Scaling::Line& entry : scaling.lines) {
    std::vector<std::string> cells{escape_markdown(entry.title)};
    for (const auto& average : entry.average) {
      cells.push_back(value_text(average, scaling.score.unit, 2));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

MarkdownTable table_of(const TextRows& texts) {
  MarkdownTable table;
  table.header = texts.header;
  table.right.assign(table.header.size(), true);
  table.right[0] = false;
  for (const auto& row : texts.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : row) {
      cells.push_back(escape_markdown(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string draws_text(const std::vector<Draws>& draws) {
  std::string text;
  for (const TextRows& table : draw_scaling_tables(draws)) {
    text += "\n## " + escape_markdown(table.title) + "\n\n" + markdown_table(table_of(table));
  }
  for (const Draws& of_size : draws) {
    const TextRows table = draw_table(of_size);
    text += "\n## " + escape_markdown(table.title) + "\n\n" + markdown_table(table_of(table));
  }
  return draws.empty() ? text : text + "\n" + draw_note() + "\n";
}

// One row for each t, since there are more of them than paths.
MarkdownTable path_table(const Board& board, const std::vector<Path>& paths) {
  MarkdownTable table;
  table.header = {"t"};
  std::set<double> positions;
  std::vector<std::string> barriers{"barrier"}, loss_barriers{"barrier of the loss"};
  for (const Path& path : paths) {
    const bool is_alone = std::count_if(paths.begin(), paths.end(),
                                        [&](const Path& other) { return other.method == path.method; }) == 1;
    table.header.push_back(escape_markdown(path.method + (is_alone ? "" : ", " + path.others)));
    for (const Path::Point& point : path.points) {
      positions.insert(point.t);
    }
    barriers.push_back(value_text(path.score_barrier, board.score.unit, 2));
    loss_barriers.push_back(path.loss_barrier ? fixed(*path.loss_barrier, 3) : "-");
  }
  table.right.assign(table.header.size(), true);
  for (const double t : positions) {
    std::vector<std::string> cells{number_text(t)};
    for (const Path& path : paths) {
      const auto point = std::find_if(path.points.begin(), path.points.end(),
                                      [&](const Path::Point& each) { return each.t == t; });
      cells.push_back(point == path.points.end() ? "-" : value_text(point->score, board.score.unit, 2));
    }
    table.rows.push_back(std::move(cells));
  }
  table.rows.push_back(std::move(barriers));
  table.rows.push_back(std::move(loss_barriers));
  return table;
}

}  // namespace

std::string markdown_report(const std::vector<Board>& boards, const ReportFacts& facts) {
  std::string text = "# Leaderboard\n";
  text += facts.unfinished.empty() ? "" : "\n**Unfinished.** " + escape_markdown(facts.unfinished) + "\n";
  for (const Board& board : boards) {
    text += "\n## " + escape_markdown(board_title(board)) + "\n\n";
    text += markdown_table(score_table(board)) + "\n" + markdown_table(choice_table(board)) + "\n" +
            markdown_table(cost_table(board)) + "\n";
    text += markdown_list(board_notes(board), false);
  }
  for (const Board& board : boards) {
    if (const auto paths = make_paths(board); !paths.empty()) {
      text += "\n## " + escape_markdown(board_title(board)) + ": along t\n\n" +
              markdown_table(path_table(board, paths)) +
              "\nAverages on the test split, mean over seeds. Barrier: what is lost most below the chord "
              "between the "
              "ends.\n";
    }
  }
  for (const Scaling& scaling : make_scalings(boards)) {
    text += "\n## " + escape_markdown(scaling.zoo) + ": " + escape_markdown(scaling_title(scaling)) +
            (scaling.shift == "clean" ? "" : ", " + escape_markdown(scaling.shift)) + "\n\n";
    text += markdown_table(scaling_table(scaling));
    text += "\nThe tasks change with the experts: compare within a column.\n";
  }
  const std::vector<Robustness> shifted = make_robustness(boards);
  for (const Robustness& robustness : shifted) {
    const TextRows table = robustness_table(robustness);
    text += "\n## " + escape_markdown(table.title) + "\n\n" + markdown_table(table_of(table));
  }
  text += shifted.empty() ? "" : "\n" + robustness_note() + "\n";
  text += draws_text(facts.draws);
  if (const auto notes = order_notes(compare_orders(boards)); !notes.empty()) {
    text += "\n## Orders on other zoos\n\n" + markdown_list(notes, true);
  }
  text += "\n## How to read this\n\n" + markdown_list(reading_notes(boards, "**bold**", "†"), true);
  text += "- Definitions: docs/metrics.md. Made by `fusegrid report`";
  text += facts.metrics_sha256.empty() ? ".\n" : "; sha256 of /metrics: " + facts.metrics_sha256 + ".\n";
  return text;
}

std::string markdown_timings(const std::vector<Board>& boards) {
  std::string text =
      "# Timings\n\nSeconds of this run on the machines that it had; another run has others. What several "
      "methods\nshare is paid for by the one that ran first. Every setting: timings.csv.\n";
  for (const Board& board : boards) {
    text += "\n## " + escape_markdown(board_title(board)) + "\n\n" + markdown_table(timing_table(board));
  }
  return text;
}

}  // namespace fusegrid
