#include "fusion/passes/election_counter.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/errors.h"
#include "fusion/loops/entry_rules.h"

namespace fusegrid {
namespace {

constexpr size_t kMostTried = 3;  // open entries of a sum whose outcomes are all tried

int sign(float value) {
  return static_cast<int>(value > 0) - static_cast<int>(value < 0);
}

uint32_t magnitude_bits(float value) {
  return ordered_bits(value, Order::kMagnitudes);
}

}  // namespace

int32_t sign_balance(const float* sums, int64_t count) {
  int32_t balance = 0;
  for (int64_t i = 0; i < count; ++i) {
    balance += static_cast<int32_t>(sums[i] > 0) - static_cast<int32_t>(sums[i] < 0);
  }
  return balance;
}

ElectionCounter::ElectionCounter(int64_t most_waiting) : most_waiting_(static_cast<size_t>(most_waiting)) {}

void ElectionCounter::start(const std::vector<NumberRange>& expected) {
  expected_ = expected;
  for (const NumberRange& range : expected) {
    surely_kept_.push_back(std::bit_cast<float>(range.last & 0x7fffffffU));
    turns_.emplace_back(range.steps(), 0);
  }
  entries_.resize(expected.size());
}

void ElectionCounter::see(size_t vector, const float* values, std::span<const uint16_t> inside) {
  for (const uint16_t place : inside) {
    const size_t entries = open_[place].entries + 1;
    open_[place] = {entries, vector, values[place]};
    if (entries == 1) {
      open_places_.push_back(place);
    }
  }
}

void ElectionCounter::end_chunk(const ChunkReader& reader, int64_t count) {
  for (const uint16_t place : open_places_) {
    if (open_[place].entries > 1 || !settle_single(place)) {
      settle(reader, place);
    }
    open_[place] = {};
    sums_.values[place] = 0;  // counts for neither sign below
  }
  open_places_.clear();
  balance_ += sign_balance(sums_.values.data(), count);
  sums_ = {};
}

// The common cases, from what is known of the sum without the entry: the entry cannot turn its sign, or surely does, however
// the sum is rounded.
bool ElectionCounter::settle_single(size_t place) {
  const Open& open = open_[place];
  const float sum = sums_.values[place];
  const float size = std::fabs(open.value);
  // a sum of n numbers is off by less than n 2^-24 times the sum of magnitudes; here of two sums, and more than twice that
  const float rounding =
      static_cast<float>(expected_.size() + 1) * 0x1p-21F * (sums_.magnitudes[place] + size);
  const bool stays = std::fabs(sum) > size + rounding;
  const bool turns = size > std::fabs(sum) + rounding || sums_.magnitudes[place] == 0;
  if (!stays && !turns) {
    return false;
  }
  balance_ += sign(sum);
  if (turns) {
    turns_[open.vector][magnitude_bits(open.value) - expected_[open.vector].first] +=
        sign(open.value) - sign(sum);
  }
  return true;
}

void ElectionCounter::settle(const ChunkReader& reader, int64_t place) {
  std::array<size_t, kMostTried> open;
  size_t num_open = 0;
  for (size_t vector = 0; vector < entries_.size(); ++vector) {
    entries_[vector] = reader.at(vector, place);
    const uint32_t position = magnitude_bits(entries_[vector]) - expected_[vector].first;
    if (position < expected_[vector].steps()) {
      if (num_open < kMostTried) {
        open[num_open] = vector;
      }
      ++num_open;
    }
  }
  // The sign of the sum, added in order, if of the open entries those of the set bits are kept.
  const auto sign_if = [&](uint32_t kept) {
    float sum = 0;
    size_t next_open = 0;
    for (size_t vector = 0; vector < entries_.size(); ++vector) {
      const bool is_open = next_open < num_open && open[next_open] == vector;
      const float threshold = surely_kept_[vector];
      sum += is_open ? ((kept >> next_open & 1U) != 0 ? entries_[vector] : 0.0F)
                     : trimmed_value(entries_[vector], threshold);
      next_open += is_open ? 1 : 0;
    }
    return sign(sum);
  };
  if (num_open <= kMostTried) {
    const int if_dropped = sign_if(0);
    bool same = true;
    for (uint32_t kept = 1; same && kept < 1U << num_open; ++kept) {
      same = sign_if(kept) == if_dropped;
    }
    if (same || num_open == 1) {
      balance_ += if_dropped;
    }
    if (same) {
      return;
    }
    if (num_open == 1) {
      const uint32_t position = magnitude_bits(entries_[open[0]]) - expected_[open[0]].first;
      turns_[open[0]][position] += sign_if(1) - if_dropped;
      return;
    }
  }
  complete_ = complete_ && waiting_.size() + entries_.size() <= most_waiting_;
  if (complete_) {
    waiting_.insert(waiting_.end(), entries_.begin(), entries_.end());
  }
}

int64_t ElectionCounter::settled_later(const std::vector<float>& thresholds) const {
  int64_t balance = 0;
  for (size_t vector = 0; vector < thresholds.size(); ++vector) {
    const uint32_t first_kept = magnitude_bits(thresholds[vector]) - expected_[vector].first;
    for (size_t position = first_kept; position < turns_[vector].size(); ++position) {
      balance += turns_[vector][position];
    }
  }
  for (size_t begin = 0; begin < waiting_.size(); begin += thresholds.size()) {
    float sum = 0;
    for (size_t vector = 0; vector < thresholds.size(); ++vector) {
      sum += trimmed_value(waiting_[begin + vector], thresholds[vector]);
    }
    balance += sign(sum);
  }
  return balance;
}

std::optional<int64_t> ElectionCounter::balance(
    const std::vector<float>& thresholds,
    const std::function<void(std::vector<int64_t>&)>& sum_over_ranks) const {
  if (expected_.empty()) {
    return std::nullopt;
  }
  for (size_t vector = 0; vector < thresholds.size(); ++vector) {
    if (!expected_[vector].contains(magnitude_bits(thresholds[vector]))) {
      return std::nullopt;
    }
  }
  std::vector<int64_t> counters{complete_ ? balance_ + settled_later(thresholds) : 0, complete_ ? 0 : 1};
  sum_over_ranks(counters);
  return counters[1] == 0 ? std::optional(counters[0]) : std::nullopt;
}

}  // namespace fusegrid
