#include "report/robustness.h"

#include "report/layout.h"

namespace fusegrid {
namespace {

// Of a method's row; nothing where there is none.
Average row_average(const Board& board, const std::string& method) {
  for (const Row& row : board.rows) {
    if (row.setting.method == method) {
      return row.average;
    }
  }
  return {};
}

std::optional<double> relative_to(const Score& score, const Robustness::Line& line) {
  double sum = 0;
  for (const std::optional<double>& shifted : line.shifted) {
    if (!line.clean || !shifted || *line.clean <= 0 || *shifted <= 0) {
      return std::nullopt;
    }
    sum += score.better == Better::kHigher ? *shifted / *line.clean : *line.clean / *shifted;
  }
  return sum / static_cast<double>(line.shifted.size());
}

}  // namespace

std::vector<Robustness> make_robustness(const std::vector<Board>& boards) {
  std::vector<Robustness> all;
  for (const Board& clean : boards) {
    if (clean.shift != "clean") {
      continue;
    }
    std::vector<const Board*> shifted;
    for (const Board& board : boards) {
      if (board.source == clean.source && board.zoo == clean.zoo && board.experts == clean.experts &&
          board.shift != "clean" && board.score == clean.score) {
        shifted.push_back(&board);
      }
    }
    if (shifted.empty()) {
      continue;
    }
    Robustness of_board{source_prefix(clean) + clean.zoo, clean.experts, clean.score, {}, {}};
    for (const Board* board : shifted) {
      of_board.shifts.push_back(board->shift);
    }
    for (const Row& row : clean.rows) {
      Robustness::Line line{row.method.title, row.average.value, {}, {}};
      line.intervals.push_back(row.average.interval);
      for (const Board* board : shifted) {
        const Average average = row_average(*board, row.setting.method);
        line.shifted.push_back(average.value);
        line.intervals.push_back(average.interval);
      }
      line.relative = relative_to(clean.score, line);
      of_board.lines.push_back(std::move(line));
    }
    all.push_back(std::move(of_board));
  }
  return all;
}

}  // namespace fusegrid
