// How the averages of a board's rows compare: their spread, and which is best or tied with it.
#pragma once

#include <vector>

#include "report/board.h"
#include "report/paired.h"
#include "report/settings.h"

namespace fusegrid {

// A row while its board is made: with the cells of its chosen setting.
struct Entry {
  Row row;
  const SettingCells* cells = nullptr;
};

// One of a row's averages, and the tasks that it is over.
struct Averaged {
  Average Row::*average = nullptr;
  const std::vector<size_t>& tasks;
  bool is_unseen() const { return average == &Row::unseen; }
};
// That of the seen tasks, and of the others where there are any.
std::vector<Averaged> averages_of(const BoardCells& cells);

// The deviation of a row's average over seeds; none where it has no value or there is one seed.
void fill_deviation(const BoardCells& cells, const Averaged& of, Entry& entry);

// Fills the intervals of the rows' averages, and which are best and tied, and adds notes where there is no interval.
void compare(const Records& records, const BoardCells& cells, const Averaged& of,
             const std::vector<Grouping>& groupings, std::vector<Entry>& entries, Board& board);

}  // namespace fusegrid
