#include "fusion/passes/order_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/errors.h"
#include "fusion/loops/bit_counts.h"
#include "fusion/loops/count_places.h"
#include "fusion/loops/number_window.h"

namespace fusegrid {
namespace {

constexpr auto kStride = static_cast<size_t>(kBins);

// What is looked for, and what was found.
struct Target {
  size_t vector = 0;
  int64_t k = 0;
  std::optional<float> value = {};
};

// Calls visit(j, chunk, entries) for each chunk of the vectors number wanted[j] of a slice on the CPU.
template <typename Visit>
void for_each_chunk(const std::vector<SliceVector>& all, const std::vector<size_t>& wanted,
                    const Visit& visit) {
  ChunkReader reader(all);
  float scratch[ChunkReader::kChunk];
  reader.for_each_chunk([&](int64_t, int64_t count) {
    for (size_t j = 0; j < wanted.size(); ++j) {
      visit(j, reader.read(wanted[j], scratch), count);
    }
  });
}

// -- two passes over everything

struct Histogram {
  size_t vector = 0;
  CountRule rule;
};

// One pass, this rank's row of kBins counts for each histogram.
std::vector<int64_t> count_on_host(Engine& engine, const std::vector<Histogram>& histograms,
                                   const SliceVectors& vectors) {
  std::vector<int64_t> counts(histograms.size() * kStride, 0);
  std::vector<size_t> wanted;
  for (const Histogram& histogram : histograms) {
    wanted.push_back(histogram.vector);
  }
  engine.for_each_slice([&](const Slice& slice) {
    if (const std::vector<SliceVector> all = vectors(slice); !all.empty()) {
      for_each_chunk(all, wanted, [&](size_t j, const float* values, int64_t count) {
        count_chunk(values, count, histograms[j].rule, &counts[j * kStride]);
      });
    }
  });
  return counts;
}

DeviceCounts count_on_device(Engine& engine, const std::vector<Histogram>& histograms,
                             const SliceVectors& vectors) {
  std::vector<CountRule> rules;
  for (const Histogram& histogram : histograms) {
    rules.push_back(histogram.rule);
  }
  DeviceCounts counts(rules);
  engine.for_each_slice([&](const Slice& slice) {
    const std::vector<SliceVector> all = vectors(slice);
    if (all.empty()) {
      return;
    }
    std::vector<SliceVector> counted;
    for (const Histogram& histogram : histograms) {
      counted.push_back(all[histogram.vector]);
    }
    counts.add(counted);
  });
  return counts;
}

// One pass: in histogram number of_target[j] the bin of the entry number ranks[j], and the rank inside that bin.
std::vector<Place> pass(Engine& engine, const std::vector<Histogram>& histograms,
                        const std::vector<size_t>& of_target, const std::vector<int64_t>& ranks,
                        const SliceVectors& vectors) {
  std::vector<std::optional<Place>> found;
  if (engine.device().is_cpu()) {
    const auto counts = count_on_host(engine, histograms, vectors);
    const auto count = [&](size_t row, size_t bin) { return counts[of_target[row] * kStride + bin]; };
    found = find_places(engine, HostRows(of_target.size(), kStride, count), ranks);
  } else {
    found = find_places(engine, DeviceRows(count_on_device(engine, histograms, vectors), of_target), ranks);
  }
  std::vector<Place> places;
  for (const auto& place : found) {
    FUSEGRID_ASSERT(place.has_value(), "fewer entries than k");
    places.push_back(*place);
  }
  return places;
}

// targets: those of a vector one behind the other, so that its high bits are counted once.
void search_by_halves(Engine& engine, Order order, const std::vector<Target*>& targets,
                      const SliceVectors& vectors) {
  std::vector<Histogram> high;
  std::vector<size_t> high_of;
  std::vector<int64_t> ranks;
  for (const Target* target : targets) {
    if (high.empty() || high.back().vector != target->vector) {
      high.push_back({target->vector, {order}});
    }
    high_of.push_back(high.size() - 1);
    ranks.push_back(target->k);
  }
  const auto high_places = pass(engine, high, high_of, ranks, vectors);
  std::vector<Histogram> low;
  std::vector<size_t> low_of;
  for (size_t j = 0; j < targets.size(); ++j) {
    low.push_back({targets[j]->vector, {order, true, static_cast<uint32_t>(high_places[j].bin)}});
    low_of.push_back(j);
    ranks[j] = high_places[j].rank;
  }
  const auto low_places = pass(engine, low, low_of, ranks, vectors);
  for (size_t j = 0; j < targets.size(); ++j) {
    targets[j]->value = from_ordered_bits(low[j].rule.high << 16 | static_cast<uint32_t>(low_places[j].bin));
  }
}

// -- a sample and one pass

// Where in the sample an entry of the model is likely, and the ranks between which it nearly certainly is.
struct SampleRank {
  int64_t likely = 1, low = 1, high = 1;
};

// Six standard deviations of independent samples, as entries that are next to each other are alike. A sample that is
// all of the model has none.
SampleRank rank_in_sample(int64_t k, int64_t all, int64_t sampled, int64_t taking_part) {
  const double share = static_cast<double>(sampled) / static_cast<double>(std::max(all, int64_t{1}));
  const double rank = static_cast<double>(k) * share;
  const auto last = static_cast<double>(std::max(taking_part, int64_t{1}));
  const double margin = sampled == all ? 0 : 6 * std::sqrt(std::max(rank * (1 - rank / last), 1.0)) + 1;
  const auto within = [&](double place) { return static_cast<int64_t>(std::clamp(place, 1.0, last)); };
  return {within(rank), within(rank - margin), within(rank + margin)};
}

// `likely` of all, then `low`, then `high`.
std::vector<int64_t> in_turn(const std::vector<SampleRank>& ranks) {
  std::vector<int64_t> all;
  for (const auto member : {&SampleRank::likely, &SampleRank::low, &SampleRank::high}) {
    for (const SampleRank& rank : ranks) {
      all.push_back(rank.*member);
    }
  }
  return all;
}

// The numbers of the bins from `low` to `high`; where those are too many, as many as a window has around the likely
// place. Places in rows of kBins counts of high bits.
NumberRange numbers_between(const Place& low, const Place& high, const Place& likely) {
  constexpr int64_t kAll = int64_t{1} << 32;
  constexpr int64_t kMost = NumberWindow::kNumbers;
  if (static_cast<int64_t>(high.bin - low.bin + 1) * kBins <= kMost) {
    return {static_cast<uint32_t>(low.bin * kStride), static_cast<uint32_t>((high.bin + 1) * kStride - 1)};
  }
  const int64_t middle =
      static_cast<int64_t>(likely.bin) * kBins + kBins * likely.rank / std::max(likely.inside, int64_t{1});
  const auto first = static_cast<uint32_t>(std::clamp(middle - kMost / 2, int64_t{0}, kAll - kMost));
  return {first, first + static_cast<uint32_t>(kMost - 1)};
}

std::vector<size_t> vectors_of(const std::vector<Target>& targets) {
  std::vector<size_t> wanted;
  for (const Target& target : targets) {
    wanted.push_back(target.vector);
  }
  return wanted;
}

std::vector<NumberWindow> windows_of(Order order, const std::vector<NumberRange>& ranges) {
  std::vector<NumberWindow> windows;
  for (const NumberRange& range : ranges) {
    windows.emplace_back(order, range);
  }
  return windows;
}

// Counts the vectors number `wanted` in a window each.
Engine::Visit counted_in(std::vector<NumberWindow>& windows, const std::vector<size_t>& wanted,
                         const SliceVectors& vectors) {
  return [&](const Slice& slice) {
    if (const auto all = vectors(slice); !all.empty()) {
      for_each_chunk(all, wanted,
                     [&](size_t j, const float* values, int64_t count) { windows[j].add(values, count); });
    }
  };
}

// Where the windows, taken in turn, have the entries number `ranks`; nothing for those that they do not have.
std::vector<std::optional<Place>> places_in_windows(Engine& engine, const std::vector<NumberWindow>& windows,
                                                    std::vector<int64_t> ranks) {
  std::vector<int64_t> below;
  size_t numbers = 0;
  for (const NumberWindow& window : windows) {
    below.push_back(window.below());
    numbers = std::max(numbers, size_t{window.range().steps()} + 1);
  }
  engine.sum_over_ranks(below);
  for (size_t j = 0; j < ranks.size(); ++j) {
    ranks[j] -= below[j % windows.size()];
  }
  const auto count = [&](size_t row, size_t bin) { return windows[row].count(bin); };
  return find_places(engine, HostRows(windows.size(), numbers, count), ranks);
}

// From the first look at the sample: bins of high bits; the same on every rank.
std::vector<NumberRange> rough_ranges(Engine& engine, Order order, size_t width,
                                      const std::vector<Target>& targets, const SliceVectors& vectors,
                                      std::vector<SampleRank>& ranks) {
  std::vector<uint32_t> counts(width * kStride, 0);  // narrow: memory is to be the same for many models
  std::vector<int64_t> sizes{0, 0};                  // of the sample: all elements, those that take part
  std::vector<size_t> wanted(width);
  std::iota(wanted.begin(), wanted.end(), size_t{0});
  engine.for_each_sample([&](const Slice& slice) {
    const auto all = vectors(slice);
    sizes[0] += slice.count;
    if (all.empty()) {
      return;
    }
    sizes[1] += slice.count;
    for_each_chunk(all, wanted, [&](size_t i, const float* values, int64_t count) {
      count_chunk(values, count, {order}, &counts[i * kStride]);
    });
  });
  engine.sum_over_ranks(sizes);
  for (const Target& target : targets) {
    ranks.push_back(rank_in_sample(target.k, engine.num_elements(), sizes[0], sizes[1]));
  }
  const auto count = [&](size_t row, size_t bin) { return counts[targets[row].vector * kStride + bin]; };
  const auto places = find_places(engine, HostRows(targets.size(), kStride, count), in_turn(ranks));
  const auto place = [&](size_t j) { return places[j].value_or(Place{}); };
  std::vector<NumberRange> ranges;
  for (size_t j = 0; j < targets.size(); ++j) {
    ranges.push_back(numbers_between(place(targets.size() + j), place(2 * targets.size() + j), place(j)));
  }
  return ranges;
}

// From a second look: single numbers.
std::vector<NumberRange> expected_ranges(Engine& engine, Order order, size_t width,
                                         const std::vector<Target>& targets, const SliceVectors& vectors) {
  std::vector<SampleRank> ranks;
  std::vector<NumberRange> ranges = rough_ranges(engine, order, width, targets, vectors, ranks);
  std::vector<NumberWindow> windows = windows_of(order, ranges);
  const auto wanted = vectors_of(targets);
  engine.for_each_sample(counted_in(windows, wanted, vectors));
  const auto places = places_in_windows(engine, windows, in_turn(ranks));
  for (size_t j = 0; j < targets.size(); ++j) {
    const uint32_t first = ranges[j].first;
    if (const auto& low = places[targets.size() + j]) {
      ranges[j].first = first + static_cast<uint32_t>(low->bin);
    }
    if (const auto& high = places[2 * targets.size() + j]) {
      ranges[j].last = first + static_cast<uint32_t>(high->bin);
    }
  }
  return ranges;
}

void search_windows(Engine& engine, Order order, size_t width, std::vector<Target>& targets,
                    const SliceVectors& vectors) {
  const auto ranges = expected_ranges(engine, order, width, targets, vectors);
  std::vector<NumberWindow> windows = windows_of(order, ranges);
  const auto wanted = vectors_of(targets);
  engine.for_each_slice(counted_in(windows, wanted, vectors));
  std::vector<int64_t> ks;
  for (const Target& target : targets) {
    ks.push_back(target.k);
  }
  const auto places = places_in_windows(engine, windows, ks);
  for (size_t j = 0; j < targets.size(); ++j) {
    if (places[j]) {
      targets[j].value = from_ordered_bits(ranges[j].first + static_cast<uint32_t>(places[j]->bin));
    }
  }
}

}  // namespace

std::vector<std::vector<float>> kth_smallest(Engine& engine, Order order, size_t width,
                                             const std::vector<int64_t>& ks, const SliceVectors& vectors) {
  std::vector<Target> targets;
  for (size_t i = 0; i < width; ++i) {
    for (const int64_t k : ks) {
      targets.push_back({i, k});
    }
  }
  if (engine.device().is_cpu()) {
    search_windows(engine, order, width, targets, vectors);
  }
  std::vector<Target*> missed;
  for (Target& target : targets) {
    if (!target.value) {
      missed.push_back(&target);
    }
  }
  if (!missed.empty()) {
    search_by_halves(engine, order, missed, vectors);
  }
  std::vector<std::vector<float>> found(width);
  for (const Target& target : targets) {
    found[target.vector].push_back(*target.value);
  }
  return found;
}

}  // namespace fusegrid
