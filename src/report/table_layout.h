// What the Markdown and the LaTeX writer share about several boards together: tables of texts, before escaping.
#pragma once

#include <string>
#include <vector>

#include "report/draws.h"
#include "report/robustness.h"

namespace fusegrid {

// A table of texts, before escaping. The first column is text, the others are numbers.
struct TextRows {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};
// "toy: 20 random sets of 3 experts", a row for each method.
TextRows draw_table(const Draws& draws);
// Of a zoo, shift and way to draw with several numbers of experts: the mean against that number.
std::vector<TextRows> draw_scaling_tables(const std::vector<Draws>& draws);
// How to read them.
std::string draw_note();
// "toy, 8 experts: under shifts", a row for each method, a column for each shift.
TextRows robustness_table(const Robustness& robustness);
std::string robustness_note();

}  // namespace fusegrid
