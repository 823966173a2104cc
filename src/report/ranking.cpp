#include "report/ranking.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "report/settings.h"

namespace fusegrid {
namespace {

constexpr size_t kFewestRows = 3;     // two have an order, but not much of one
constexpr size_t kFewestMethods = 5;  // that two boards share

// What the rows of a group score: [rows][seeds][seen tasks], more is better.
using Scores = std::vector<std::vector<std::vector<double>>>;

Scores scores_of(const BoardCells& cells, const std::vector<const Entry*>& rows) {
  const double sign = cells.score.better == Better::kHigher ? 1 : -1;
  Scores scores(rows.size(), std::vector<std::vector<double>>(cells.seeds.size()));
  for (size_t row = 0; row < rows.size(); ++row) {
    for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
      for (const size_t task : cells.seen) {
        const size_t cell = seed * cells.tasks.size() + task;
        scores[row][seed].push_back(sign * score_of(cells, *rows[row]->cells, cell, "test").value());
      }
    }
  }
  return scores;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

// [rows]: mean over seeds of the score on one task.
std::vector<double> by_task(const Scores& scores, size_t task) {
  std::vector<double> values;
  for (const auto& row : scores) {
    std::vector<double> of_seeds;
    for (const auto& seed : row) {
      of_seeds.push_back(seed[task]);
    }
    values.push_back(mean_of(of_seeds));
  }
  return values;
}

// [rows]: mean over tasks of the score of one seed.
std::vector<double> by_seed(const Scores& scores, size_t seed) {
  std::vector<double> values;
  for (const auto& row : scores) {
    values.push_back(mean_of(row[seed]));
  }
  return values;
}

// Orders that are compared with each other, and what the pair is called.
struct OrderPair {
  std::string name;
  std::vector<double> one, other;
};

std::optional<Agreement> agreement_of(const std::vector<OrderPair>& pairs) {
  Agreement agreement;
  double sum = 0;
  int64_t count = 0;
  for (const OrderPair& pair : pairs) {
    const std::optional<double> tau = kendall_tau(pair.one, pair.other);
    if (!tau) {
      continue;
    }
    if (count == 0 || *tau < agreement.lowest) {
      agreement.lowest = *tau;
      agreement.where = pair.name;
    }
    sum += *tau;
    ++count;
  }
  if (count == 0) {
    return std::nullopt;
  }
  agreement.mean = sum / static_cast<double>(count);
  return agreement;
}

GroupRanking ranking_of(const BoardCells& cells, RowGroup group, const Scores& scores) {
  std::vector<double> averages;
  std::vector<std::vector<double>> of_tasks(scores.size());
  std::vector<OrderPair> tasks;
  std::vector<OrderPair> seeds;
  for (const auto& row : scores) {
    std::vector<double> of_seeds;
    for (const auto& seed : row) {
      of_seeds.push_back(mean_of(seed));
    }
    averages.push_back(mean_of(of_seeds));
  }
  for (size_t task = 0; task < cells.seen.size(); ++task) {
    const std::vector<double> values = by_task(scores, task);
    for (size_t row = 0; row < scores.size(); ++row) {
      of_tasks[row].push_back(values[row]);
    }
    tasks.push_back({cells.tasks[cells.seen[task]], values, averages});
  }
  for (size_t a = 0; a < cells.seeds.size(); ++a) {
    for (size_t b = a + 1; b < cells.seeds.size(); ++b) {
      seeds.push_back({"seeds " + std::to_string(cells.seeds[a]) + " and " + std::to_string(cells.seeds[b]),
                       by_seed(scores, a), by_seed(scores, b)});
    }
  }
  return {group, static_cast<int64_t>(scores.size()), compare_ranks(of_tasks), agreement_of(tasks),
          agreement_of(seeds)};
}

// Averages of a group by the name of the row's method.
std::map<std::string, double> averages_of(const Board& board, RowGroup group) {
  std::map<std::string, double> averages;
  for (const Row& row : board.rows) {
    if (row.group == group && row.average.value) {
      averages.emplace(row.setting.method, *row.average.value);
    }
  }
  return averages;
}

std::optional<BoardAgreement> compare_two(const Board& first, const Board& second, RowGroup group) {
  const double sign = first.score.better == second.score.better ? 1 : -1;
  const auto of_second = averages_of(second, group);
  std::vector<double> a;
  std::vector<double> b;
  for (const auto& [method, average] : averages_of(first, group)) {
    if (const auto found = of_second.find(method); found != of_second.end()) {
      a.push_back(average);
      b.push_back(sign * found->second);
    }
  }
  const std::optional<double> tau = a.size() < kFewestMethods ? std::nullopt : kendall_tau(a, b);
  return tau ? std::optional(BoardAgreement{&first, &second, group, static_cast<int64_t>(a.size()), *tau})
             : std::nullopt;
}

}  // namespace

void fill_rankings(const BoardCells& cells, std::vector<Entry>& entries, Board& board) {
  if (cells.seen.size() < 2) {
    return;
  }
  for (const RowGroup group : {RowGroup::kTaskUnknown, RowGroup::kTaskKnown}) {
    std::vector<Entry*> members;
    for (Entry& entry : entries) {
      if (entry.row.group == group && entry.row.average.value) {
        members.push_back(&entry);
      }
    }
    if (members.size() < kFewestRows) {
      continue;
    }
    board.rankings.push_back(ranking_of(cells, group, scores_of(cells, {members.begin(), members.end()})));
    for (size_t i = 0; i < members.size(); ++i) {
      members[i]->row.average_rank = board.rankings.back().ranks.average_ranks[i];
    }
  }
}

std::vector<BoardAgreement> compare_orders(const std::vector<Board>& boards) {
  std::vector<BoardAgreement> agreements;
  for (size_t i = 0; i < boards.size(); ++i) {
    for (size_t j = i + 1; j < boards.size(); ++j) {
      if (boards[i].zoo == boards[j].zoo || boards[i].shift != boards[j].shift ||
          number_of_experts(boards[i].experts) != number_of_experts(boards[j].experts)) {
        continue;
      }
      for (const RowGroup group : {RowGroup::kTaskUnknown, RowGroup::kTaskKnown}) {
        if (const auto agreement = compare_two(boards[i], boards[j], group)) {
          agreements.push_back(*agreement);
        }
      }
    }
  }
  return agreements;
}

}  // namespace fusegrid
