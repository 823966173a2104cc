#include "report/table_layout.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/count_text.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

std::string draw_title(const Draws& draws) {
  return draws.zoo + (draws.shift == "clean" ? "" : ", " + draws.shift);
}

// "70.41 ± 1.20", half the width of the interval
std::string mean_text(const std::optional<DrawMean>& mean, const std::string& unit) {
  if (!mean) {
    return "-";
  }
  const std::string value = value_text(mean->value, unit, 2);
  return mean->interval
             ? value + " ± " + value_text((mean->interval->high - mean->interval->low) / 2, unit, 2)
             : value;
}

// "18/20 (70 - 97)"
std::string share_text(const std::optional<Share>& share) {
  if (!share) {
    return "-";
  }
  const Interval interval = share->interval();
  return std::to_string(share->hits) + "/" + std::to_string(share->draws) + " (" + percent(interval.low, 0) +
         " - " + percent(interval.high, 0) + ")";
}

}  // namespace

TextRows draw_table(const Draws& draws) {
  const std::string& unit = draws.score.unit;
  TextRows table;
  table.title = draw_title(draws) + ": " + std::to_string(draws.boards) + " " + draws.kind + " sets of " +
                count_text(draws.experts, "expert");
  table.header = {"Method", "Draws", draws.has_unseen ? "Seen" : "Average"};
  if (draws.has_unseen) {
    table.header.emplace_back("Unseen");
  }
  table.header.insert(table.header.end(),
                      {"Over base", "Beats base", "Over best expert", "Beats best expert"});
  for (const DrawRow& row : draws.rows) {
    std::vector<std::string> cells{row.method.title, std::to_string(row.draws), mean_text(row.seen, unit)};
    if (draws.has_unseen) {
      cells.push_back(mean_text(row.unseen, unit));
    }
    cells.insert(cells.end(), {mean_text(row.gain_over_base, unit), share_text(row.beats_base),
                               mean_text(row.gain_over_best, unit), share_text(row.beats_best)});
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::vector<TextRows> draw_scaling_tables(const std::vector<Draws>& draws) {
  std::vector<TextRows> tables;
  for (size_t begin = 0; begin < draws.size();) {
    size_t end = begin + 1;
    while (end < draws.size() && draws[end].zoo == draws[begin].zoo &&
           draws[end].shift == draws[begin].shift && draws[end].kind == draws[begin].kind &&
           draws[end].score == draws[begin].score) {
      ++end;
    }
    for (const auto& [name, mean, some] :
         {std::tuple("tasks of the merged experts", &DrawRow::seen, true),
          std::tuple("unseen tasks", &DrawRow::unseen, draws[begin].has_unseen)}) {
      if (end - begin < 2 || !some) {
        continue;
      }
      TextRows table{draw_title(draws[begin]) + ": " + name + " against the number of experts, " +
                         draws[begin].kind + " sets",
                     {"Method"},
                     {}};
      for (size_t i = begin; i < end; ++i) {
        table.header.push_back(std::to_string(draws[i].experts));
      }
      for (const DrawRow& row : draws[end - 1].rows) {
        std::vector<std::string> cells{row.method.title};
        for (size_t i = begin; i < end; ++i) {
          const auto found =
              std::find_if(draws[i].rows.begin(), draws[i].rows.end(),
                           [&](const DrawRow& each) { return each.method.name == row.method.name; });
          cells.push_back(found == draws[i].rows.end() ? "-"
                                                       : mean_text((*found).*mean, draws[i].score.unit));
        }
        table.rows.push_back(std::move(cells));
      }
      tables.push_back(std::move(table));
    }
    begin = end;
  }
  return tables;
}

std::string draw_note() {
  return "Means over draws of a board's average; ± is half of the 95 % interval that the draws give. Over "
         "base and "
         "over best expert: what the merge is ahead of pretrained and of the expert that does best on "
         "validation, on "
         "the same draw, and in how many draws it is (with the 95 % interval of that share, in %). Each "
         "draw's board "
         "is in leaderboard.csv.";
}

TextRows robustness_table(const Robustness& robustness) {
  const std::string& unit = robustness.score.unit;
  TextRows table{
      robustness.zoo + ", " +
          (is_count(robustness.experts) ? robustness.experts + " experts" : "experts " + robustness.experts) +
          ": under shifts",
      {"Method", "clean"},
      {}};
  table.header.insert(table.header.end(), robustness.shifts.begin(), robustness.shifts.end());
  table.header.emplace_back("Relative");
  for (const Robustness::Line& line : robustness.lines) {
    std::vector<std::string> cells{line.title, value_text(line.clean, unit, 2)};
    for (const auto& shifted : line.shifted) {
      cells.push_back(value_text(shifted, unit, 2));
    }
    cells.push_back(percent(line.relative));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string robustness_note() {
  return "Averages on the test split under each shift. Relative: mean over the shifts of the shifted score "
         "divided by "
         "the clean one (where lower is better, the other way round), in %.";
}

}  // namespace fusegrid
