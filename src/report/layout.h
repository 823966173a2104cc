// What the writers share: columns, groups and the text of numbers, before escaping.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// Rounded to `digits` decimals, with a point whatever the locale.
std::string fixed(double value, int digits);
// 0.7125 -> "71.2"; absent -> "-"
std::string percent(const std::optional<double>& fraction, int digits = 1);
// With four significant digits: 2.5 -> "2.500"
std::string significant(double value);
// A number in a unit (TaskMetric): fractions in percent with `digits` decimals, others with four significant digits;
// absent -> "-"
std::string value_text(const std::optional<double>& value, const std::string& unit, int digits = 1);

// An end of an interval for CSV; absent -> ""
std::string csv_bound(const std::optional<Interval>& interval, double Interval::*end);

// "vision: ", the results folder of a board, where a report is of several; else ""
std::string source_prefix(const Board& board);
// Headings of the columns of tasks, which name the metric where tasks have different ones: "ant (MCC)".
std::vector<std::string> task_columns(const Board& board);
// The averages of a board's rows and their headings: "Average", or "Relative" where that is what is averaged; of boards
// with unseen tasks "Seen" and "Unseen".
struct AverageColumn {
  std::string heading;
  Average Row::*average = nullptr;
};
std::vector<AverageColumn> average_columns(const Board& board);
// "average against the number of experts", with the score where that is not the accuracy
std::string scaling_title(const Scaling& scaling);

// "vision8: average against the size of a model, 8 experts"
std::string size_title(const SizeSeries& series);
// What stands below these tables.
inline constexpr const char* kPathNote =
    "Averages on the test split, mean over seeds. Barrier: what is lost most below the chord between the "
    "ends.";
inline constexpr const char* kScalingNote = "The tasks change with the experts: compare within a column.";
inline constexpr const char* kSizeNote =
    "Headings: zoo, numbers of one model. Parameters are chosen for each size.";

// "vision8-small, 8 experts" or "vision8-small, experts a+b, gaussian_noise-3"
std::string board_title(const Board& board);
std::string group_title(RowGroup group);
// Data that the fusion sees: "train inputs, gradients"; "-" for none.
std::string data_used(const MethodRecord& method);
// The chosen parameters that were tuned or differ from their defaults; "defaults", or "-" for a method
// without.
std::string shown_parameters(const Row& row);
std::string stored_text(const Row& row);  // "2.3x"; absolute where the size of a model is unknown
// "70.4 - 73.9", by value_text(); "-" where there is none
std::string interval_text(const Average& average, const std::string& unit, const std::string& dash = " - ");

// The settings of a row that are compared: "71.2", in the unit of the board's score; "-" where one is absent.
struct ChoiceTexts {
  std::string tried, at_defaults, chosen, best_on_test, average_rank;
};
ChoiceTexts choice_texts(const Board& board, const Row& row);
// "small and medium, 8 experts: ..." of each two boards whose orders can be compared, as sentences.
std::vector<std::string> order_notes(const std::vector<BoardAgreement>& agreements);

// Lines below a board: examples, seeds, what is incomplete and why, what was left out.
std::vector<std::string> board_notes(const Board& board);
// How to read the tables, once for the report. `best` and `tied`: how the writer shows these marks.
std::vector<std::string> reading_notes(const std::vector<Board>& boards, const std::string& best,
                                       const std::string& tied);

}  // namespace fusegrid
