#include "report/published_writers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"

namespace fusegrid {
namespace {

constexpr const char* kSawTest = "‡";

// A cell of a table: its text before escaping, and whether it lies outside its tolerance.
struct NumberText {
  std::string text;
  bool outside = false;
};

// A line of a table. A row has several: what is published, what is here, and the differences.
struct RowLine {
  std::string label;
  std::string what;
  std::vector<NumberText> numbers;
  bool first = false;  // of its row
};

std::string signed_text(double value, int digits) {
  const std::string text = fixed(value, digits);
  const bool is_zero = text.find_first_of("123456789") == std::string::npos;
  return is_zero ? fixed(0, digits) : value > 0 ? "+" + text : text;
}

std::vector<const ComparedNumber*> numbers_of(const ComparedBoard& board, const ComparedRow& row) {
  std::vector<const ComparedNumber*> numbers;
  for (const ComparedNumber& number : row.by_task) {
    numbers.push_back(&number);
  }
  numbers.push_back(&row.average);
  if (board.table.has_unseen) {
    numbers.push_back(&row.unseen);
  }
  return numbers;
}

template <typename MakeText>
RowLine row_line(const std::string& label, const std::string& what,
                 const std::vector<const ComparedNumber*>& numbers, const MakeText& text) {
  RowLine line{.label = label, .what = what, .numbers = {}};
  for (const ComparedNumber* number : numbers) {
    line.numbers.push_back(text(*number));
  }
  return line;
}

std::string state_text(const ComparedRow& row) {
  switch (row.state) {
    case RowState::kWithin:
      return "within tolerance";
    case RowState::kOutside:
      return "outside tolerance" + (row.reason.empty() ? "" : ", and incomplete: " + row.reason);
    case RowState::kIncomplete:
      return "incomplete: " + row.reason;
    case RowState::kNotRun:
      return "not run here: " + row.reason;
  }
  FUSEGRID_ASSERT(false, "unknown state of a row");
}

std::vector<RowLine> lines_of(const ComparedBoard& board, const ComparedRow& row) {
  const auto numbers = numbers_of(board, row);
  std::vector<RowLine> lines;
  lines.push_back(row_line(row.published.title + (row.saw_test ? std::string(" ") + kSawTest : ""),
                           "published", numbers, [](const ComparedNumber& number) {
                             return NumberText{number.published ? number.published->text : ""};
                           }));
  lines.back().first = true;
  if (row.state == RowState::kNotRun) {
    lines.push_back(
        row_line(state_text(row), "", numbers, [](const ComparedNumber&) { return NumberText{}; }));
    return lines;
  }
  lines.push_back(row_line(row.published.cells, "here", numbers, [](const ComparedNumber& number) {
    return NumberText{number.here ? fixed(*number.here, 2) : "-"};
  }));
  lines.push_back(row_line(state_text(row), "points", numbers, [](const ComparedNumber& number) {
    return NumberText{number.points ? signed_text(*number.points, 2) : "", number.outside};
  }));
  if (std::any_of(numbers.begin(), numbers.end(),
                  [](const auto* number) { return number->right.has_value(); })) {
    const int digits = board.seeds.size() > 1 ? 1 : 0;
    lines.push_back(row_line("", "right answers", numbers, [&](const ComparedNumber& number) {
      return NumberText{number.right ? signed_text(*number.right, digits) : "",
                        number.right && number.outside};
    }));
  }
  return lines;
}

std::vector<std::string> header_of(const ComparedBoard& board) {
  std::vector<std::string> header{"Row", ""};
  for (size_t task = 0; task < board.table.tasks.size(); ++task) {
    const std::string& metric = board.table.metrics[task];
    header.push_back(board.table.tasks[task] +
                     (metric == board.table.metrics.front() ? "" : " (" + metric + ")"));
  }
  header.emplace_back(board.table.has_unseen ? "Seen" : "Average");
  if (board.table.has_unseen) {
    header.emplace_back("Unseen");
  }
  return header;
}

std::string title_of(const ComparedBoard& board) {
  Board named;
  named.zoo = board.zoo;
  named.experts = board.experts;
  named.shift = board.shift;
  return board.table.title + ": " + board_title(named);
}

std::string summary_of(const ComparedBoard& board) {
  const auto count = [&](RowState state) {
    return std::count_if(board.rows.begin(), board.rows.end(),
                         [&](const ComparedRow& row) { return row.state == state; });
  };
  const auto rows = static_cast<int64_t>(board.rows.size());
  return number_text(rows) + " published rows: " + number_text(int64_t{count(RowState::kWithin)}) +
         " within tolerance, " + number_text(int64_t{count(RowState::kOutside)}) + " outside, " +
         number_text(int64_t{count(RowState::kIncomplete)}) + " incomplete, " +
         number_text(int64_t{count(RowState::kNotRun)}) + " not run here. Table: " + board.table.file + ".";
}

std::string saw_test_note(const PublishedTable& table) {
  std::vector<std::string> tasks;
  for (size_t task = 0; task < table.tasks.size(); ++task) {
    if (table.test_trained[task]) {
      tasks.push_back(table.tasks[task]);
    }
  }
  return std::string(kSawTest) + " " + join(tasks, ", ") +
         ": this expert was trained on the test examples of its task, so that numbers of that task, and "
         "averages with "
         "it, are too high in every row that is made of it; they say nothing of new examples.";
}

std::vector<std::string> notes_of(const ComparedBoard& board) {
  std::vector<std::string> notes{summary_of(board)};
  if (std::any_of(board.rows.begin(), board.rows.end(),
                  [](const ComparedRow& row) { return row.saw_test; })) {
    notes.push_back(saw_test_note(board.table));
  }
  if (!board.unpublished.empty()) {
    notes.push_back("Here, but not published: " + join(board.unpublished, "; ") + ".");
  }
  if (!board.extra_tasks.empty()) {
    notes.push_back("Tested here, but no task of the table: " + join(board.extra_tasks, ", ") + ".");
  }
  if (board.seeds.size() > 1) {
    notes.push_back("Here: means over " + number_text(static_cast<int64_t>(board.seeds.size())) + " seeds.");
  }
  for (const std::string& remark : board.table.remarks) {
    notes.push_back(remark);
  }
  for (const ComparedRow& row : board.rows) {
    if (!row.published.note.empty()) {
      notes.push_back(row.published.title + ": " + row.published.note + ".");
    }
  }
  return notes;
}

MarkdownTable markdown_rows(const ComparedBoard& board) {
  MarkdownTable table;
  for (const std::string& column : header_of(board)) {
    table.header.push_back(escape_markdown(column));
  }
  table.right.assign(table.header.size(), true);
  table.right[0] = table.right[1] = false;
  for (const ComparedRow& row : board.rows) {
    for (const RowLine& line : lines_of(board, row)) {
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

std::string latex_rows(const ComparedBoard& board) {
  std::vector<std::string> header;
  for (const std::string& column : header_of(board)) {
    header.push_back(escape_latex(column));
  }
  std::string text =
      "\\begin{tabular}{ll" + std::string(header.size() - 2, 'r') + "}\n    \\toprule\n" + latex_line(header);
  for (const ComparedRow& row : board.rows) {
    for (const RowLine& line : lines_of(board, row)) {
      std::vector<std::string> cells{latex_text(line.label), line.what};
      for (const NumberText& number : line.numbers) {
        cells.push_back(number.outside ? "\\textbf{" + number.text + "}" : number.text);
      }
      text += (line.first ? "    \\midrule\n" : "") + latex_line(cells);
    }
  }
  return text + "    \\bottomrule\n  \\end{tabular}";
}

std::string caption_of(const ComparedBoard& board) {
  std::string text = latex_text(title_of(board)) + ".";
  for (const std::string& note : notes_of(board)) {
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
  for (const ComparedBoard& board : boards) {
    text += "\n## " + escape_markdown(title_of(board)) + "\n\n" + markdown_table(markdown_rows(board)) +
            "\n" + markdown_list(notes_of(board), false);
  }
  return text +
         "\n## How to read this\n\n"
         "- published, here: in points, percent of a share or 100 times a correlation. points: here less "
         "published; "
         "right answers: the same\n  in test examples, where their number is published.\n"
         "- **Bold**: farther off than the tolerance that the table states. published.csv has each tolerance "
         "and all "
         "digits.\n"
         "- Tables, tolerances and their reasons: docs/published.md. Made by `fusegrid report "
         "--published`.\n";
}

std::string latex_published(const std::vector<ComparedBoard>& boards) {
  std::string text =
      "% Made by: fusegrid report --published\n"
      "% Needs \\usepackage{booktabs,graphicx} and, for \\textquotedbl, \\usepackage[T1]{fontenc}.\n" +
      latex_preamble();
  for (const ComparedBoard& board : boards) {
    text += latex_float(caption_of(board), latex_rows(board));
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
