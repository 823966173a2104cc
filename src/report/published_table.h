// Results that others have published, as a CSV file beside a job: docs/published.md has its format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fusegrid {

// What a metric counts in: points are percent of a share, 100 times a correlation, centimetres or degrees.
struct PublishedUnit {
  std::string name;  // "share", also of correlations; "metres", "degrees": numbers of two units have no mean
  double points = 100;    // of one of it
  double farthest = 100;  // points that a number may have, and below 0 as many
};
PublishedUnit published_unit(const std::string& metric);

// A published number in points.
struct PublishedNumber {
  double points = 0;
  std::string text = {};             // for tables: percentages as they are printed, others with two decimals
  std::optional<double> right = {};  // right answers, where these are published
  double tolerance = 0;  // how far another result may be: in right answers where these are published
};

struct PublishedRow {
  std::string title;
  std::string
      cells;  // method and parameters as cells are named, "ties{scale=0.6}"; "": this program cannot make it
  std::string zoo, experts, shift;                      // of the cells; "": of every board
  std::vector<std::optional<PublishedNumber>> by_task;  // [tasks]
  std::optional<PublishedNumber> average;               // of the seen tasks: all, where no column is unseen
  std::optional<PublishedNumber> unseen;                // over the others
  std::string source, note;
  int line = 0;
};

struct PublishedTable {
  std::string file;                  // for messages
  std::string title;                 // the first comment
  std::vector<std::string> remarks;  // the others
  std::vector<std::string> tasks;
  std::vector<std::string> metrics;              // [tasks], what is compared
  std::vector<std::optional<int64_t>> examples;  // [tasks], of the test split, where they are known
  std::vector<bool> test_trained;  // [tasks], whether the task's expert was trained on its test examples
  bool has_unseen = false;         // a column `unseen`
  std::vector<PublishedRow> rows;
};

// Reads the text of a file. ConfigError that begins with file and line: a column, a kind of line or a number that is
// none, a number without a tolerance, more right answers than examples, two rows alike.
PublishedTable parse_published_table(const std::string& text, const std::string& file);

}  // namespace fusegrid
