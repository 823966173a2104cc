#include <map>

#include "report/layout.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

// A board has more columns than a page is wide and may have more rows than it is high: what is too large is scaled.
constexpr const char* kFit =
    "\\providecommand{\\fusegridfit}[1]{\\resizebox*{!}{\\ifdim\\totalheight>.8\\textheight "
    ".8\\textheight\\else\\totalheight"
    "\\fi}{\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{#1}}}\n";

// Text in which no character of LaTeX acts.
std::string escape_latex(const std::string& text) {
  static const std::map<char, std::string> escapes{{'\\', "\\textbackslash{}"},
                                                   {'~', "\\textasciitilde{}"},
                                                   {'^', "\\textasciicircum{}"},
                                                   {'<', "\\textless{}"},
                                                   {'>', "\\textgreater{}"},
                                                   {'|', "\\textbar{}"},
                                                   {'"', "\\textquotedbl{}"},
                                                   {'&', "\\&"},
                                                   {'%', "\\%"},
                                                   {'$', "\\$"},
                                                   {'#', "\\#"},
                                                   {'_', "\\_"},
                                                   {'{', "\\{"},
                                                   {'}', "\\}"}};
  std::string escaped;
  for (const char c : text) {
    const auto found = escapes.find(c);
    escaped += found == escapes.end() ? std::string(1, c) : found->second;
  }
  return escaped;
}

// The notes' signs outside ASCII, for fonts and engines of any age. After escape_latex().
std::string signs(std::string text) {
  for (size_t at = text.find("±"); at != std::string::npos; at = text.find("±")) {
    text.replace(at, std::string("±").size(), "$\\pm$");
  }
  return text;
}

std::string table_line(const std::vector<std::string>& cells) {
  std::string text = "    ";
  for (size_t i = 0; i < cells.size(); ++i) {
    text += (i == 0 ? "" : " & ") + cells[i];
  }
  return text + " \\\\\n";
}

std::string average_cell(const Average& average, const std::string& unit) {
  std::string text = value_text(average.value, unit, 2);
  if (average.best) {
    text = "\\textbf{" + text + "}";
  }
  if (average.deviation) {
    text += " $\\pm$ " + value_text(average.deviation, unit, 2);
  }
  return average.tied ? text + "$^{\\dagger}$" : text;
}

template <typename MakeCells>
std::string tabular(const Board& board, const std::string& columns, const std::vector<std::string>& header,
                    const MakeCells& cells) {
  std::string text = "\\begin{tabular}{" + columns + "}\n    \\toprule\n" + table_line(header);
  for (size_t i = 0; i < board.rows.size(); ++i) {
    if (i == 0 || board.rows[i].group != board.rows[i - 1].group) {
      text += "    \\midrule\n    \\multicolumn{" + std::to_string(header.size()) + "}{l}{\\emph{" +
              escape_latex(group_title(board.rows[i].group)) + "}} \\\\\n";
    }
    text += table_line(cells(board.rows[i]));
  }
  return text + "    \\bottomrule\n  \\end{tabular}";
}

std::string score_tabular(const Board& board) {
  std::vector<std::string> header{"Method"};
  for (const std::string& column : task_columns(board)) {
    header.push_back(escape_latex(column));
  }
  const std::vector<AverageColumn> averages = average_columns(board);
  for (const AverageColumn& column : averages) {
    header.insert(header.end(), {column.heading, "95\\,\\%"});
  }
  if (!board.score.relative) {
    header.emplace_back("Norm.");
  }
  header.emplace_back("Rank");
  return tabular(board, "l" + std::string(header.size() - 1, 'r'), header, [&](const Row& row) {
    const std::string& unit = board.score.unit;
    std::vector<std::string> cells{escape_latex(row.method.title)};
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      cells.push_back(value_text(row.by_task[task], board.metrics[task].unit));
    }
    for (const AverageColumn& column : averages) {
      cells.push_back(average_cell(row.*column.average, unit));
      cells.push_back(interval_text(row.*column.average, unit, "--"));
    }
    if (!board.score.relative) {
      cells.push_back(percent(row.normalised));
    }
    cells.push_back(row.rank ? std::to_string(*row.rank) : "-");
    return cells;
  });
}

std::string cost_tabular(const Board& board) {
  const std::vector<std::string> header{"Method", "Data", "Task identity", "Stored", "Tried", "Parameters"};
  return tabular(board, "lllrrl", header, [](const Row& row) {
    const MethodRecord& method = row.method;
    return std::vector<std::string>{escape_latex(method.title),      escape_latex(data_used(method)),
                                    method.told_task ? "yes" : "no", escape_latex(stored_text(row)),
                                    std::to_string(row.tried),       escape_latex(shown_parameters(row))};
  });
}

std::string caption(const Board& board) {
  std::string text = escape_latex(board_title(board)) + ".";
  for (const std::string& note : board_notes(board)) {
    text += " " + signs(escape_latex(note));
  }
  return text;
}

std::string float_of(const std::string& caption, const std::string& tabular) {
  return "\n\\begin{table*}[t]\n  \\centering\n  \\small\n  \\setlength{\\tabcolsep}{4pt}\n  \\caption{" +
         caption + "}\n  \\fusegridfit{" + tabular + "}\n\\end{table*}\n";
}

}  // namespace

std::string latex_report(const std::vector<Board>& boards, const ReportFacts& facts) {
  std::string text = "% Made by: fusegrid report\n";
  text += facts.metrics_sha256.empty() ? "" : "% sha256 of /metrics: " + facts.metrics_sha256 + "\n";
  text += facts.unfinished.empty() ? "" : "% Unfinished: " + facts.unfinished + "\n";
  text += "% Needs \\usepackage{booktabs,graphicx} and, for \\textquotedbl, \\usepackage[T1]{fontenc}.\n";
  for (const std::string& note : reading_notes(boards, "bold", "dagger")) {
    text += "% " + note + "\n";
  }
  text += kFit;
  for (const Board& board : boards) {
    text += float_of(caption(board), score_tabular(board));
    text += float_of(escape_latex(board_title(board)) + ": data used, costs and chosen parameters.",
                     cost_tabular(board));
  }
  return text;
}

}  // namespace fusegrid
