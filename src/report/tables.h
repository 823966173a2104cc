// The tables of a report before they are written: what Markdown and the page show is made here, once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/board.h"
#include "report/table_layout.h"

namespace fusegrid {

struct ReportTable {
  struct Column {
    std::string heading;
    bool right = true;  // numbers
  };
  enum class Mark { kNone, kBest, kTied };
  struct Cell {
    std::string text;
    std::optional<double> number = {};  // what the text is rounded from
    Mark mark = Mark::kNone;
  };
  struct Line {
    std::string group;  // "" where the table has none
    std::vector<Cell> cells;
  };
  std::vector<Column> columns;
  std::vector<Line> lines;
};

ReportTable score_table(const Board& board);
// The settings of each row: how many were tried, and what others than the chosen one have.
ReportTable choice_table(const Board& board);
ReportTable needs_table(const Board& board);
ReportTable cost_table(const Board& board);
ReportTable scaling_table(const Scaling& scaling);
ReportTable size_table(const SizeSeries& series);
// One line for each t, since there are more of them than paths.
ReportTable path_table(const Board& board, const std::vector<Path>& paths);

// A table of texts: its numbers are what they begin with.
ReportTable table_of(const TextRows& texts);

// What a path is called among those of its board: its method, and its other parameters where the method has several.
std::string path_title(const std::vector<Path>& paths, const Path& path);

}  // namespace fusegrid
