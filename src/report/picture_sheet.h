// Pictures that models made, beside each other: rows of a board by its tasks.
#pragma once

#include <string>
#include <vector>

#include "report/writers.h"

namespace fusegrid {

struct PictureSheet {
  std::string title;               // of its board, and the seed
  std::vector<std::string> tasks;  // those with pictures
  struct Row {
    std::string title;              // of the method; "Real pictures"
    std::vector<std::string> urls;  // [tasks], each a PNG (core/png.h), or "" where there is none
  };
  std::vector<Row> rows;  // the real ones first, then in the order of the board
};

// Of the boards of a folder that have any, in their order: of the first seed, of the test split.
std::vector<PictureSheet> picture_sheets(const ReportPart& part);

}  // namespace fusegrid
