#include "report/published_writers.h"

#include <utility>

#include "core/text.h"
#include "report/markup.h"
#include "report/published_layout.h"

namespace fusegrid {
namespace {

MarkdownTable markdown_rows(const BoardsOfTable& boards) {
  MarkdownTable table;
  for (const std::string& column : header_of(boards.front()->table)) {
    table.header.push_back(escape_markdown(column));
  }
  table.right.assign(table.header.size(), true);
  table.right[0] = table.right[1] = false;
  for (const ComparedBoard* board : boards) {
    if (boards.size() > 1) {
      table.rows.emplace_back(table.header.size());
      table.rows.back().front() = "*" + escape_markdown(name_of(*board)) + "*";
    }
    for (const RowLine& line : lines_of(*board)) {
      std::vector<std::string> cells{escape_markdown(line.label), line.what};
      for (const NumberText& number : line.numbers) {
        cells.push_back(number.outside ? "**" + number.text + "**" : number.text);
      }
      table.rows.push_back(std::move(cells));
    }
  }
  return table;
}

// ‡, which fonts may lack.
std::string latex_text(const std::string& text) {
  std::string latex = latex_signs(escape_latex(text));
  const std::string sign = kSawTest;
  for (size_t at = latex.find(sign); at != std::string::npos; at = latex.find(sign)) {
    latex.replace(at, sign.size(), "$^{\\ddagger}$");
  }
  return latex;
}

std::string latex_rows(const BoardsOfTable& boards) {
  std::vector<std::string> header;
  for (const std::string& column : header_of(boards.front()->table)) {
    header.push_back(escape_latex(column));
  }
  std::string text =
      "\\begin{tabular}{ll" + std::string(header.size() - 2, 'r') + "}\n    \\toprule\n" + latex_line(header);
  for (const ComparedBoard* board : boards) {
    if (boards.size() > 1) {
      text += "    \\midrule\n    \\multicolumn{" + std::to_string(header.size()) + "}{l}{\\emph{" +
              escape_latex(name_of(*board)) + "}} \\\\\n";
    }
    for (const RowLine& line : lines_of(*board)) {
      std::vector<std::string> cells{latex_text(line.label), line.what};
      for (const NumberText& number : line.numbers) {
        cells.push_back(number.outside ? "\\textbf{" + number.text + "}" : number.text);
      }
      text += (line.first ? "    \\midrule\n" : "") + latex_line(cells);
    }
  }
  return text + "    \\bottomrule\n  \\end{tabular}";
}

std::string caption_of(const BoardsOfTable& boards) {
  std::string text = latex_text(title_of(boards)) + ".";
  for (const std::string& note : notes_of(boards)) {
    text += " " + latex_text(note);
  }
  return text;
}

std::vector<std::string> csv_fields(const ComparedBoard& board, const ComparedRow& row,
                                    const ComparedNumber& number, const std::string& column,
                                    const std::string& metric) {
  const auto& published = number.published;
  return {board.table.file,
          board.zoo,
          board.experts,
          board.shift,
          row.published.title,
          row.published.cells,
          column,
          metric,
          published ? number_text(published->points) : "",
          csv_number(number.here),
          csv_number(number.points),
          published ? csv_number(published->right) : "",
          csv_number(number.right),
          published ? number_text(published->tolerance) : "",
          published ? (published->right ? "right answers" : "points") : "",
          number.points ? (number.outside ? "false" : "true") : "",
          state_text(row),
          row.saw_test ? "true" : "false",
          row.published.source,
          row.published.note};
}

}  // namespace

std::string markdown_published(const std::vector<ComparedBoard>& boards) {
  std::string text = "# Published results\n";
  for (const BoardsOfTable& table : by_table(boards)) {
    text += "\n## " + escape_markdown(title_of(table)) + "\n\n" + markdown_table(markdown_rows(table)) +
            "\n" + markdown_list(notes_of(table), false);
  }
  return text +
         "\n## How to read this\n\n"
         "- published, here: points, which are percent of a share, 100 times a correlation, centimetres or "
         "degrees. points: here less published; right answers: the same in test examples, where their number "
         "is published.\n"
         "- **Bold**: farther off than the tolerance that the table states. published.csv has each tolerance "
         "and "
         "all digits.\n"
         "- Tables, tolerances and their reasons: docs/published.md. Made by `fusegrid report "
         "--published`.\n";
}

std::string latex_published(const std::vector<ComparedBoard>& boards) {
  std::string text =
      "% Made by: fusegrid report --published\n"
      "% Needs \\usepackage{booktabs,graphicx} and, for \\textquotedbl, \\usepackage[T1]{fontenc}.\n" +
      latex_preamble();
  for (const BoardsOfTable& table : by_table(boards)) {
    text += latex_float(caption_of(table), latex_rows(table));
  }
  return text;
}

std::string csv_published(const std::vector<ComparedBoard>& boards) {
  std::string text =
      csv_record({"table",  "zoo",       "experts",        "shift",  "row",    "cells",
                  "column", "metric",    "published",      "here",   "points", "published_right",
                  "right",  "tolerance", "tolerance_unit", "within", "state",  "expert_saw_test",
                  "source", "note"});
  for (const ComparedBoard& board : boards) {
    for (const ComparedRow& row : board.rows) {
      for (size_t task = 0; task < board.table.tasks.size(); ++task) {
        text += csv_record(
            csv_fields(board, row, row.by_task[task], board.table.tasks[task], board.table.metrics[task]));
      }
      text += csv_record(csv_fields(board, row, row.average, "average", ""));
      if (board.table.has_unseen) {
        text += csv_record(csv_fields(board, row, row.unseen, "unseen", ""));
      }
    }
  }
  return text;
}

}  // namespace fusegrid
