#include <utility>

#include "report/layout.h"
#include "report/markup.h"
#include "report/table_layout.h"
#include "report/tables.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

std::string marked(const ReportTable::Cell& cell) {
  const std::string text = escape_markdown(cell.text);
  switch (cell.mark) {
    case ReportTable::Mark::kBest:
      return "**" + text + "**";
    case ReportTable::Mark::kTied:
      return text + " †";
    case ReportTable::Mark::kNone:
      break;
  }
  return text;
}

// With a heading above each group.
std::string markdown_of(const ReportTable& table) {
  MarkdownTable markdown;
  for (const ReportTable::Column& column : table.columns) {
    markdown.header.push_back(escape_markdown(column.heading));
    markdown.right.push_back(column.right);
  }
  std::string group;
  for (const ReportTable::Line& line : table.lines) {
    if (line.group != group) {
      group = line.group;
      std::vector<std::string> heading(markdown.header.size());
      heading[0] = "*" + group + "*";
      markdown.rows.push_back(std::move(heading));
    }
    std::vector<std::string> cells;
    for (const ReportTable::Cell& cell : line.cells) {
      cells.push_back(marked(cell));
    }
    markdown.rows.push_back(std::move(cells));
  }
  return markdown_table(markdown);
}

std::string shift_ending(const std::string& shift) {
  return shift == "clean" ? "" : ", " + escape_markdown(shift);
}

std::string titled(const TextRows& table) {
  return "\n## " + escape_markdown(table.title) + "\n\n" + markdown_of(table_of(table));
}

std::string draws_text(const std::vector<Draws>& draws) {
  std::string text;
  for (const TextRows& table : draw_scaling_tables(draws)) {
    text += titled(table);
  }
  for (const Draws& of_size : draws) {
    text += titled(draw_table(of_size));
  }
  return draws.empty() ? text : text + "\n" + draw_note() + "\n";
}

}  // namespace

std::string markdown_report(const std::vector<Board>& boards, const ReportFacts& facts) {
  std::string text = "# Leaderboard\n";
  text += facts.unfinished.empty() ? "" : "\n**Unfinished.** " + escape_markdown(facts.unfinished) + "\n";
  for (const Board& board : boards) {
    text += "\n## " + escape_markdown(board_title(board)) + "\n\n";
    text += markdown_of(score_table(board)) + "\n" + markdown_of(choice_table(board)) + "\n" +
            markdown_of(needs_table(board)) + "\n";
    text += markdown_list(board_notes(board), false);
  }
  for (const Board& board : boards) {
    if (const auto paths = make_paths(board); !paths.empty()) {
      text += "\n## " + escape_markdown(board_title(board)) + ": along t\n\n" +
              markdown_of(path_table(board, paths)) + "\n" + kPathNote + "\n";
    }
  }
  for (const Scaling& scaling : make_scalings(boards)) {
    text += "\n## " + escape_markdown(scaling.zoo) + ": " + escape_markdown(scaling_title(scaling)) +
            shift_ending(scaling.shift) + "\n\n" + markdown_of(scaling_table(scaling)) + "\n" + kScalingNote +
            "\n";
  }
  for (const SizeSeries& series : make_size_series(boards)) {
    text += "\n## " + escape_markdown(size_title(series)) + "\n\n" + markdown_of(size_table(series)) + "\n" +
            kSizeNote + "\n";
  }
  const std::vector<Robustness> shifted = make_robustness(boards);
  for (const Robustness& robustness : shifted) {
    text += titled(robustness_table(robustness));
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

std::string markdown_costs(const std::vector<Board>& boards) {
  std::string text =
      "# Costs\n\nSeconds and memory of this run on the machines that it had; another run has others. "
      "What several methods\nshare is paid for by the one that ran first. Every setting: costs.csv.\n";
  for (const Board& board : boards) {
    text += "\n## " + escape_markdown(board_title(board)) + "\n\n" + markdown_of(cost_table(board));
  }
  return text;
}

}  // namespace fusegrid
