// What the writers of results beside published ones share: lines, headings and notes, before escaping.
#pragma once

#include <string>
#include <vector>

#include "report/published.h"

namespace fusegrid {

// Marks rows that are made of an expert that was trained on its task's test examples.
inline constexpr const char* kSawTest = "‡";

// A cell of a table: its text before escaping, and whether it lies outside its tolerance.
struct NumberText {
  std::string text;
  bool outside = false;
};

// A line of a table. A row has several: what is published, what is here, and the differences.
struct RowLine {
  std::string label;
  std::string what;
  std::vector<NumberText> numbers;
  bool first = false;  // of its row
};

// The boards that stand beside one table.
using BoardsOfTable = std::vector<const ComparedBoard*>;
std::vector<BoardsOfTable> by_table(const std::vector<ComparedBoard>& boards);

std::string name_of(const ComparedBoard& board);
std::string title_of(const BoardsOfTable& boards);
std::vector<std::string> header_of(const PublishedTable& table);
std::vector<RowLine> lines_of(const ComparedBoard& board);
std::string state_text(const ComparedRow& row);
// Lines below a table: how many rows are within tolerance, warnings, what is missing on either side, sources.
std::vector<std::string> notes_of(const BoardsOfTable& boards);

}  // namespace fusegrid
