// Rows of several boards as lines: against the number of experts, the size of a model.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "core/count_text.h"
#include "core/text.h"
#include "report/board.h"
#include "report/layout.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

// One line for each method of the boards, which are in the order of the points; in the order of the last board, then
// those that it lacks.
std::vector<Scaling::Line> lines_of(const std::vector<const Board*>& boards) {
  std::vector<std::string> order;
  std::vector<Scaling::Line> lines;
  for (auto board = boards.rbegin(); board != boards.rend(); ++board) {
    for (const Row& row : (*board)->rows) {
      if (std::find(order.begin(), order.end(), row.setting.method) == order.end()) {
        order.push_back(row.setting.method);
        Scaling::Line& line = lines.emplace_back();
        line.title = row.method.title;
        line.average.resize(boards.size());
        line.interval.resize(boards.size());
      }
    }
  }
  for (size_t column = 0; column < boards.size(); ++column) {
    for (const Row& row : boards[column]->rows) {
      const auto at = std::find(order.begin(), order.end(), row.setting.method) - order.begin();
      Scaling::Line& line = lines[static_cast<size_t>(at)];
      line.average[column] = row.average.value;
      line.interval[column] = row.average.interval;
    }
  }
  return lines;
}

// `boards`: those of one zoo, shift and score, by growing number of experts.
Scaling make_scaling(const std::vector<const Board*>& boards) {
  const Board& first = *boards[0];
  Scaling scaling{source_prefix(first) + first.zoo, first.shift, first.score, {}, lines_of(boards)};
  for (const Board* board : boards) {
    scaling.experts.push_back(parse_int(board->experts, "experts"));
  }
  return scaling;
}

// What one model of a board's zoo stores; absent where no row tells.
std::optional<double> model_parameters(const Board& board) {
  for (const Row& row : board.rows) {
    if (row.stored_models && row.setting.stored_parameters && *row.stored_models > 0) {
      return *row.setting.stored_parameters / *row.stored_models;
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<Scaling> make_scalings(const std::vector<Board>& boards) {
  std::map<std::tuple<std::string, std::string, std::string, std::string>, std::vector<const Board*>> series;
  for (const Board& board : boards) {
    if (is_count(board.experts)) {
      series[{board.source, board.zoo, board.shift, board.score.name}].push_back(&board);
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

std::vector<SizeSeries> make_size_series(const std::vector<Board>& boards) {
  using Key = std::tuple<std::string, std::string, std::string, std::string>;
  std::map<Key, std::map<double, const Board*>> families;
  for (const Board& board : boards) {
    const size_t end = board.zoo.rfind('-');
    const std::optional<double> size = model_parameters(board);
    if (end != std::string::npos && size) {
      families[{board.zoo.substr(0, end), board.experts, board.shift, board.score.name}].emplace(*size,
                                                                                                 &board);
    }
  }
  std::vector<SizeSeries> found;
  for (const auto& [key, by_size] : families) {
    std::set<std::string> zoos;
    std::vector<const Board*> members;
    SizeSeries series{
        std::get<0>(key), std::get<1>(key), std::get<2>(key), by_size.begin()->second->score, {}, {}};
    for (const auto& [size, board] : by_size) {
      if (zoos.insert(board->zoo).second) {
        series.zoos.push_back(board->zoo);
        series.parameters.push_back(size);
        members.push_back(board);
      }
    }
    if (members.size() > 1) {
      series.lines = lines_of(members);
      found.push_back(std::move(series));
    }
  }
  return found;
}

}  // namespace fusegrid
