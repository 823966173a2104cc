#include "report/layout.h"
#include "report/markup.h"
#include "report/table_layout.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

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
  std::string text = "\\begin{tabular}{" + columns + "}\n    \\toprule\n" + latex_line(header);
  for (size_t i = 0; i < board.rows.size(); ++i) {
    if (i == 0 || board.rows[i].group != board.rows[i - 1].group) {
      text += "    \\midrule\n    \\multicolumn{" + std::to_string(header.size()) + "}{l}{\\emph{" +
              escape_latex(group_title(board.rows[i].group)) + "}} \\\\\n";
    }
    text += latex_line(cells(board.rows[i]));
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

std::string choice_tabular(const Board& board) {
  const std::vector<std::string> header{"Method",       "Tried",     "Default",   "Chosen",
                                        "Best on test", "Mean rank", "Parameters"};
  return tabular(board, "lrrrrrl", header, [&](const Row& row) {
    const ChoiceTexts texts = choice_texts(board, row);
    return std::vector<std::string>{escape_latex(row.method.title),
                                    texts.tried,
                                    texts.at_defaults,
                                    texts.chosen,
                                    texts.best_on_test,
                                    texts.average_rank,
                                    escape_latex(shown_parameters(row))};
  });
}

std::string cost_tabular(const Board& board) {
  const std::vector<std::string> header{"Method", "Data", "Task identity", "Stored"};
  return tabular(board, "lllr", header, [](const Row& row) {
    const MethodRecord& method = row.method;
    return std::vector<std::string>{escape_latex(method.title), escape_latex(data_used(method)),
                                    method.told_task ? "yes" : "no", escape_latex(stored_text(row))};
  });
}

std::string text_tabular(const TextRows& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::vector<std::string> escaped;
    for (const std::string& cell : cells) {
      escaped.push_back(latex_signs(escape_latex(cell)));
    }
    return latex_line(escaped);
  };
  std::string text = "\\begin{tabular}{l" + std::string(table.header.size() - 1, 'r') + "}\n    \\toprule\n" +
                     line(table.header) + "    \\midrule\n";
  for (const auto& row : table.rows) {
    text += line(row);
  }
  return text + "    \\bottomrule\n  \\end{tabular}";
}

std::string caption(const Board& board) {
  std::string text = escape_latex(board_title(board)) + ".";
  for (const std::string& note : board_notes(board)) {
    text += " " + latex_signs(escape_latex(note));
  }
  return text;
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
  text += latex_preamble();
  for (const Board& board : boards) {
    text += latex_float(caption(board), score_tabular(board));
    const std::string title = escape_latex(board_title(board));
    text += latex_float(title + ": choice of parameters.", choice_tabular(board));
    text += latex_float(title + ": data used and costs.", cost_tabular(board));
  }
  std::vector<TextRows> tables = draw_scaling_tables(facts.draws);
  for (const Draws& draws : facts.draws) {
    tables.push_back(draw_table(draws));
  }
  for (const TextRows& table : tables) {
    text += latex_float(latex_signs(escape_latex(table.title + ". " + draw_note())), text_tabular(table));
  }
  for (const Robustness& robustness : make_robustness(boards)) {
    const TextRows table = robustness_table(robustness);
    text +=
        latex_float(latex_signs(escape_latex(table.title + ". " + robustness_note())), text_tabular(table));
  }
  return text;
}

}  // namespace fusegrid
