// Boards whose experts were drawn at random: what a merge gains, over the draws.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// A share of draws, with its 95 % interval.
//   Source  Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
struct Share {
  int64_t hits = 0;
  int64_t draws = 0;
  double value() const { return static_cast<double>(hits) / static_cast<double>(draws); }
  Interval interval() const;
};

// A mean over draws, with the 95 % interval that their spread gives (Student's t); absent for one draw.
struct DrawMean {
  double value = 0;
  std::optional<Interval> interval = {};
};

// What a method does over the draws of one size. Scores are averages over a board's tasks (Row), in which more is
// better or not as Draws::score says; gains count more as better.
struct DrawRow {
  MethodRecord method;
  int64_t draws = 0;  // that have an average
  std::optional<DrawMean> seen = {};
  std::optional<DrawMean> unseen = {};
  std::optional<DrawMean> gain_over_base = {};  // seen, less that of the row "pretrained" of the same draw
  std::optional<DrawMean> gain_over_best = {};  // less that of "best_expert"
  std::optional<Share> beats_base = {};
  std::optional<Share> beats_best = {};
};

// All boards of a zoo and shift whose experts are as many and were drawn alike.
struct Draws {
  std::string zoo;
  std::string shift;
  std::string kind;  // "random" or "nested"
  int64_t experts = 0;
  int64_t boards = 0;
  Score score;
  bool has_unseen = false;
  std::vector<DrawRow> rows;  // by group, then by the seen mean
};

// Sorted by zoo, shift, kind and number of experts. Boards of another score than the first of theirs are left out.
std::vector<Draws> make_draws(const Records& records, const std::vector<Board>& boards);

// Which boards were drawn, and not asked for by name as well: a report shows what they have in common in place of each.
std::vector<bool> drawn_boards(const Records& records, const std::vector<Board>& boards);

std::string csv_draws(const std::vector<Draws>& draws);

}  // namespace fusegrid
