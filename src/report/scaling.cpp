#include <algorithm>
#include <map>
#include <tuple>

#include "core/count_text.h"
#include "core/text.h"
#include "report/board.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

// `boards`: those of one zoo, shift and score, by growing number of experts.
Scaling make_scaling(const std::vector<const Board*>& boards) {
  Scaling scaling{boards[0]->zoo, boards[0]->shift, boards[0]->score, {}, {}};
  std::vector<std::string> order;  // methods: as on the last board, then those that it lacks
  for (auto board = boards.rbegin(); board != boards.rend(); ++board) {
    for (const Row& row : (*board)->rows) {
      if (std::find(order.begin(), order.end(), row.setting.method) == order.end()) {
        order.push_back(row.setting.method);
        scaling.lines.push_back(
            {row.method.title, std::vector<std::optional<double>>(boards.size(), std::nullopt)});
      }
    }
  }
  for (size_t column = 0; column < boards.size(); ++column) {
    scaling.experts.push_back(parse_int(boards[column]->experts, "experts"));
    for (const Row& row : boards[column]->rows) {
      const auto line = std::find(order.begin(), order.end(), row.setting.method) - order.begin();
      scaling.lines[static_cast<size_t>(line)].average[column] = row.average.value;
    }
  }
  return scaling;
}

}  // namespace

std::vector<Scaling> make_scalings(const std::vector<Board>& boards) {
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<const Board*>> series;
  for (const Board& board : boards) {
    if (is_count(board.experts)) {
      series[{board.zoo, board.shift, board.score.name}].push_back(&board);
    }
  }
  std::vector<Scaling> scalings;
  for (const auto& [key, members] : series) {
    if (members.size() > 1) {
      scalings.push_back(make_scaling(members));
    }
  }
  return scalings;
}

}  // namespace fusegrid
