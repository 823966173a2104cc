// What shifts of the test inputs cost the rows of a board.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// The boards of one zoo and set of experts that differ by their shift, "clean" first.
struct Robustness {
  std::string zoo;  // as in Scaling
  std::string experts;
  Score score;
  std::vector<std::string> shifts;  // without "clean"
  struct Line {
    std::string title;
    std::optional<double> clean;
    std::vector<std::optional<double>> shifted;  // [shifts]
    // Mean over the shifts of shifted / clean, and where lower is better of clean / shifted: 1 is not to notice them.
    std::optional<double> relative;
    std::vector<std::optional<Interval>> intervals = {};  // of the averages, "clean" first
  };
  std::vector<Line> lines;  // in the order of the clean board
};
// Only where a clean board and one of another shift have the same score.
std::vector<Robustness> make_robustness(const std::vector<Board>& boards);

}  // namespace fusegrid
