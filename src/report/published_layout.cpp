#include "report/published_layout.h"

#include <algorithm>
#include <map>

#include "core/errors.h"
#include "core/text.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

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

std::string summary_of(const BoardsOfTable& boards) {
  std::map<RowState, int64_t> rows;
  int64_t all = 0;
  for (const ComparedBoard* board : boards) {
    for (const ComparedRow& row : board->rows) {
      ++rows[row.state];
      ++all;
    }
  }
  return number_text(all) + " published rows: " + number_text(rows[RowState::kWithin]) +
         " within tolerance, " + number_text(rows[RowState::kOutside]) + " outside, " +
         number_text(rows[RowState::kIncomplete]) + " incomplete, " + number_text(rows[RowState::kNotRun]) +
         " not run here. Table: " + boards.front()->table.file + ".";
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

}  // namespace

std::vector<BoardsOfTable> by_table(const std::vector<ComparedBoard>& boards) {
  std::vector<BoardsOfTable> tables;
  for (const ComparedBoard& board : boards) {
    if (tables.empty() || tables.back().front()->job != board.job) {
      tables.emplace_back();
    }
    tables.back().push_back(&board);
  }
  return tables;
}

std::string name_of(const ComparedBoard& board) {
  Board named;
  named.zoo = board.zoo;
  named.experts = board.experts;
  named.shift = board.shift;
  return board_title(named);
}

std::string title_of(const BoardsOfTable& boards) {
  return boards.front()->table.title + (boards.size() == 1 ? ": " + name_of(*boards.front()) : "");
}

std::vector<std::string> header_of(const PublishedTable& table) {
  std::vector<std::string> header{"Row", ""};
  for (size_t task = 0; task < table.tasks.size(); ++task) {
    const std::string& metric = table.metrics[task];
    header.push_back(table.tasks[task] + (metric == table.metrics.front() ? "" : " (" + metric + ")"));
  }
  header.emplace_back(table.has_unseen ? "Seen" : "Average");
  if (table.has_unseen) {
    header.emplace_back("Unseen");
  }
  return header;
}

std::vector<RowLine> lines_of(const ComparedBoard& board) {
  std::vector<RowLine> lines;
  for (const ComparedRow& row : board.rows) {
    const auto more = lines_of(board, row);
    lines.insert(lines.end(), more.begin(), more.end());
  }
  return lines;
}

std::vector<std::string> notes_of(const BoardsOfTable& boards) {
  const PublishedTable& table = boards.front()->table;
  std::vector<std::string> notes{summary_of(boards)};
  const bool saw_test = std::any_of(boards.begin(), boards.end(), [](const ComparedBoard* board) {
    return std::any_of(board->rows.begin(), board->rows.end(),
                       [](const ComparedRow& row) { return row.saw_test; });
  });
  if (saw_test) {
    notes.push_back(saw_test_note(table));
  }
  for (const ComparedBoard* board : boards) {
    const std::string where = boards.size() == 1 ? "" : " (" + name_of(*board) + ")";
    if (!board->unpublished.empty()) {
      notes.push_back("Here, but not published" + where + ": " + join(board->unpublished, "; ") + ".");
    }
    if (!board->extra_tasks.empty()) {
      notes.push_back("Tested here, but no task of the table" + where + ": " +
                      join(board->extra_tasks, ", ") + ".");
    }
    if (board->seeds.size() > 1) {
      notes.push_back("Here" + where + ": means over " +
                      number_text(static_cast<int64_t>(board->seeds.size())) + " seeds.");
    }
  }
  notes.insert(notes.end(), table.remarks.begin(), table.remarks.end());
  for (const ComparedBoard* board : boards) {
    for (const ComparedRow& row : board->rows) {
      if (!row.published.note.empty()) {
        notes.push_back(row.published.title + ": " + row.published.note + ".");
      }
    }
  }
  return notes;
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

}  // namespace fusegrid
