// What the Markdown and the LaTeX writer share about drawn experts: tables of texts, before escaping.
#pragma once

#include <string>
#include <vector>

#include "report/draws.h"

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

}  // namespace fusegrid
