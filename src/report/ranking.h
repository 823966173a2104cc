// How firm the order of a board's rows is.
#pragma once

#include <vector>

#include "report/comparison.h"

namespace fusegrid {

// Fills the average ranks of the entries and the board's rankings.
void fill_rankings(const BoardCells& cells, std::vector<Entry>& entries, Board& board);

}  // namespace fusegrid
