#include "report/draws.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

constexpr const char* kNamed = "named";

// zoo, experts -> "random", "nested", "named"
using Origins = std::map<std::pair<std::string, std::string>, std::set<std::string>>;

// As the launches recorded it.
Origins origins_in(const Records& records) {
  Origins origins;
  for (const RunInfo& run : records.runs) {
    if (!run.provenance.is_object() || !run.provenance.contains("expert_sets")) {
      continue;
    }
    for (const auto& [zoo, sets] : run.provenance.at("expert_sets").items()) {
      for (const auto& [experts, names] : sets.items()) {
        for (const auto& name : names) {
          const auto text = name.get<std::string>();
          origins[{zoo, experts}].insert(text.substr(0, text.find(' ')));
        }
      }
    }
  }
  return origins;
}

std::optional<DrawMean> mean_over(const std::vector<double>& values) {
  if (values.empty()) {
    return std::nullopt;
  }
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  DrawMean mean{sum / static_cast<double>(values.size())};
  if (values.size() > 1) {
    mean.interval = interval_of(mean.value, {{}, {}, values});
  }
  return mean;
}

const Row* find_row(const Board& board, const std::string& method) {
  const auto row = std::find_if(board.rows.begin(), board.rows.end(), [&](const Row& each) {
    return each.setting.method == method && each.average.value;
  });
  return row == board.rows.end() ? nullptr : &*row;
}

// What a method's rows are ahead of those of `other` on the same draws.
struct Gains {
  std::vector<double> values;
  std::optional<Share> share() const {
    return values.empty() ? std::nullopt
                          : std::optional(Share{std::count_if(values.begin(), values.end(),
                                                              [](double value) { return value > 0; }),
                                                static_cast<int64_t>(values.size())});
  }
};

Gains gains_over(const std::string& other, const std::string& method,
                 const std::vector<const Board*>& boards) {
  Gains gains;
  for (const Board* board : boards) {
    const Row* row = find_row(*board, method);
    const Row* base = find_row(*board, other);
    if (method != other && row != nullptr && base != nullptr) {
      const double sign = board->score.better == Better::kHigher ? 1 : -1;
      gains.values.push_back(sign * (*row->average.value - *base->average.value));
    }
  }
  return gains;
}

DrawRow draw_row(const MethodRecord& method, const std::vector<const Board*>& boards) {
  std::vector<double> seen;
  std::vector<double> unseen;
  for (const Board* board : boards) {
    if (const Row* row = find_row(*board, method.name)) {
      seen.push_back(*row->average.value);
      if (row->unseen.value) {
        unseen.push_back(*row->unseen.value);
      }
    }
  }
  const Gains over_base = gains_over("pretrained", method.name, boards);
  const Gains over_best = gains_over("best_expert", method.name, boards);
  return {method,
          static_cast<int64_t>(seen.size()),
          mean_over(seen),
          mean_over(unseen),
          mean_over(over_base.values),
          mean_over(over_best.values),
          over_base.share(),
          over_best.share()};
}

// `boards`: not empty.
Draws make_one(const std::string& kind, const std::vector<const Board*>& boards) {
  const Board& first = *boards[0];
  Draws draws{.zoo = first.zoo,
              .shift = first.shift,
              .kind = kind,
              .experts = static_cast<int64_t>(number_of_experts(first.experts)),
              .boards = static_cast<int64_t>(boards.size()),
              .score = first.score,
              .has_unseen = false,
              .rows = {}};
  std::map<std::string, const Row*> methods;
  for (const Board* board : boards) {
    draws.has_unseen = draws.has_unseen || !board->unseen.empty();
    for (const Row& row : board->rows) {
      methods.emplace(row.setting.method, &row);
    }
  }
  std::vector<std::pair<RowGroup, DrawRow>> rows;
  for (const auto& [name, row] : methods) {
    rows.emplace_back(row->group, draw_row(row->method, boards));
  }
  std::stable_sort(rows.begin(), rows.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) {
      return a.first < b.first;
    }
    const auto& of_a = a.second.seen;
    const auto& of_b = b.second.seen;
    return of_a && (!of_b || is_better(draws.score.better, of_a->value, of_b->value));
  });
  for (auto& [group, row] : rows) {
    draws.rows.push_back(std::move(row));
  }
  return draws;
}

std::vector<std::string> mean_fields(const std::optional<DrawMean>& mean) {
  if (!mean) {
    return {"", "", ""};
  }
  return {number_text(mean->value), csv_bound(mean->interval, &Interval::low),
          csv_bound(mean->interval, &Interval::high)};
}

std::vector<std::string> share_fields(const std::optional<Share>& share) {
  if (!share) {
    return {"", "", ""};
  }
  return {number_text(share->value()), number_text(share->interval().low),
          number_text(share->interval().high)};
}

}  // namespace

Interval Share::interval() const {
  constexpr double kZ = 1.959963984540054;
  const auto n = static_cast<double>(draws);
  const double p = value();
  const double middle = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double width = kZ / (1 + kZ * kZ / n) * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  return {std::max(0.0, middle - width), std::min(1.0, middle + width)};
}

std::vector<Draws> make_draws(const Records& records, const std::vector<Board>& boards) {
  const Origins origins = origins_in(records);
  std::map<std::tuple<std::string, std::string, std::string, size_t>, std::vector<const Board*>> groups;
  for (const Board& board : boards) {
    const auto found = origins.find({board.zoo, board.experts});
    if (found == origins.end()) {
      continue;
    }
    for (const std::string& kind : found->second) {
      if (kind == kNamed) {
        continue;
      }
      auto& members = groups[{board.zoo, board.shift, kind, number_of_experts(board.experts)}];
      if (members.empty() || members[0]->score == board.score) {
        members.push_back(&board);
      }
    }
  }
  std::vector<Draws> draws;
  for (const auto& [key, members] : groups) {
    draws.push_back(make_one(std::get<2>(key), members));
  }
  return draws;
}

std::vector<bool> drawn_boards(const Records& records, const std::vector<Board>& boards) {
  const Origins origins = origins_in(records);
  std::vector<bool> flags;
  for (const Board& board : boards) {
    const auto found = origins.find({board.zoo, board.experts});
    flags.push_back(found != origins.end() && !found->second.contains(kNamed));
  }
  return flags;
}

std::string csv_draws(const std::vector<Draws>& draws) {
  std::vector<std::string> header{"zoo", "shift", "draw", "experts", "boards", "method", "title", "draws"};
  for (const std::string column :
       {"seen", "unseen", "gain_over_base", "gain_over_best", "beats_base", "beats_best"}) {
    header.insert(header.end(), {column, column + "_low", column + "_high"});
  }
  std::string text = csv_record(header);
  for (const Draws& of_size : draws) {
    for (const DrawRow& row : of_size.rows) {
      std::vector<std::string> fields{of_size.zoo,
                                      of_size.shift,
                                      of_size.kind,
                                      number_text(of_size.experts),
                                      number_text(of_size.boards),
                                      row.method.name,
                                      row.method.title,
                                      number_text(row.draws)};
      for (const auto& mean : {row.seen, row.unseen, row.gain_over_base, row.gain_over_best}) {
        const auto of_mean = mean_fields(mean);
        fields.insert(fields.end(), of_mean.begin(), of_mean.end());
      }
      for (const auto& share : {row.beats_base, row.beats_best}) {
        const auto of_share = share_fields(share);
        fields.insert(fields.end(), of_share.begin(), of_share.end());
      }
      text += csv_record(fields);
    }
  }
  return text;
}

}  // namespace fusegrid
