// Where entries are in rows of counts: sums of groups of bins first, then the bins of one group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fusion/engine.h"
#include "fusion/loops/bit_counts.h"

namespace fusegrid {

constexpr size_t kGroups = 256;  // of the bins of a row

using Group = std::pair<size_t, size_t>;  // a row, and which of its groups

// Where an entry is in a row of counts.
struct Place {
  size_t bin = 0;
  int64_t rank = 0;  // among the `inside` entries of the bin, from 1
  int64_t inside = 0;
};

// Rows of counts on the host. `count(row, bin)` may be asked for bins beyond the last: 0.
template <typename Count>
class HostRows {
 public:
  HostRows(size_t rows, size_t bins, const Count& count)
      : rows_(rows), bins_(bins), count_(count), size_((bins + kGroups - 1) / kGroups) {}
  size_t rows() const { return rows_; }
  size_t group_size() const { return size_; }
  std::vector<int64_t> group_sums() const {
    std::vector<int64_t> sums(rows_ * kGroups, 0);
    for (size_t row = 0; row < rows_; ++row) {
      for (size_t bin = 0; bin < bins_; ++bin) {
        sums[row * kGroups + bin / size_] += count_(row, bin);
      }
    }
    return sums;
  }
  std::vector<int64_t> bins(const std::vector<Group>& groups) const {
    std::vector<int64_t> all;
    for (const auto& [row, group] : groups) {
      for (size_t i = 0; i < size_; ++i) {
        all.push_back(count_(row, group * size_ + i));
      }
    }
    return all;
  }

 private:
  size_t rows_, bins_;
  const Count& count_;
  size_t size_;
};

// The same on a device: row i is histogram number histograms[i].
class DeviceRows {
 public:
  DeviceRows(const DeviceCounts& counts, const std::vector<size_t>& histograms)
      : counts_(counts), histograms_(histograms) {}
  size_t rows() const { return histograms_.size(); }
  size_t group_size() const { return static_cast<size_t>(kBins) / kGroups; }
  std::vector<int64_t> group_sums() const {
    const auto all = counts_.group_sums(static_cast<int64_t>(group_size()));
    std::vector<int64_t> sums;
    for (const size_t histogram : histograms_) {
      const auto first = all.begin() + static_cast<int64_t>(histogram * kGroups);
      sums.insert(sums.end(), first, first + kGroups);
    }
    return sums;
  }
  std::vector<int64_t> bins(const std::vector<Group>& groups) const {
    std::vector<int64_t> wanted;
    for (const auto& [row, group] : groups) {
      wanted.push_back(static_cast<int64_t>(histograms_[row] * kGroups + group));
    }
    return counts_.bins(wanted, static_cast<int64_t>(group_size()));
  }

 private:
  const DeviceCounts& counts_;
  const std::vector<size_t>& histograms_;
};

// Where the entries number `ranks` (from 1) are in rows of counts, added up over ranks; nothing for an entry that its
// row does not have. The rows are taken in turn: rank j is looked up in row j % rows. Every rank must call. Groups of
// bins first, then the bins of one: rows are long, and moving them between ranks or from a device would take longer
// than counting.
template <typename Rows>
std::vector<std::optional<Place>> find_places(Engine& engine, const Rows& counted,
                                              const std::vector<int64_t>& ranks) {
  const size_t rows = counted.rows();
  const size_t size = counted.group_size();
  std::vector<int64_t> of_groups = counted.group_sums();
  engine.sum_over_ranks(of_groups);
  std::vector<Place> places(ranks.size());
  std::vector<Group> groups;
  for (size_t j = 0; j < ranks.size(); ++j) {
    const size_t row = j % rows;
    Place& place = places[j];
    place.rank = ranks[j];
    const size_t group = find_count(&of_groups[row * kGroups], kGroups, place.rank);
    place.bin = group * size;
    groups.emplace_back(row, group);
  }
  std::vector<int64_t> of_bins = counted.bins(groups);
  engine.sum_over_ranks(of_bins);
  std::vector<std::optional<Place>> found(ranks.size());
  for (size_t j = 0; j < ranks.size(); ++j) {
    Place& place = places[j];
    const size_t bin = find_count(&of_bins[j * size], size, place.rank);
    place.bin += bin;
    place.inside = of_bins[j * size + bin];
    if (place.rank >= 1 && place.rank <= place.inside) {
      found[j] = place;
    }
  }
  return found;
}

}  // namespace fusegrid
