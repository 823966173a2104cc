#include "fusion/alignment/zip.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr double kPreferenceForCounterparts = 1e-10;

class Zip {
 public:
  Zip(const at::Tensor& correlations, size_t models, const ZipRule& rule)
      : rule_(rule),
        count_(static_cast<size_t>(correlations.size(0))),
        units_(count_ / models),
        similar_(correlations.const_data_ptr<double>(),
                 correlations.const_data_ptr<double>() + count_ * count_),
        clusters_(count_),
        best_(count_, kNone) {
    const auto merges = static_cast<double>(count_ - units_);
    budget_.assign(models, static_cast<int64_t>(rule.b * merges / static_cast<double>(models) + 1e-4));
    for (size_t i = 0; i < count_; ++i) {
      clusters_[i] = {{i}, i / units_, false};
      for (size_t j = 0; j < count_; ++j) {
        similar_[i * count_ + j] += i != j && i % units_ == j % units_ ? kPreferenceForCounterparts : 0;
      }
    }
  }

  // The parts of each merged unit.
  std::vector<std::vector<size_t>> run() {
    find_all_best();
    for (size_t left = count_; left > units_; --left) {
      merge_the_most_similar();
    }
    std::vector<std::vector<size_t>> parts;
    for (const Cluster& cluster : clusters_) {
      if (!cluster.parts.empty()) {
        parts.push_back(cluster.parts);
      }
    }
    return parts;
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  struct Cluster {
    std::vector<size_t> parts;  // empty: it is part of another
    size_t model = kNone;       // whose units alone it has, or kNone
    bool closed = false;        // it is merged no more
  };

  double& similarity(size_t i, size_t j) { return similar_[i * count_ + j]; }

  bool may_merge(size_t i, size_t j) const {
    const Cluster& a = clusters_[i];
    const Cluster& b = clusters_[j];
    if (i == j || a.parts.empty() || b.parts.empty() || a.closed || b.closed) {
      return false;
    }
    return a.model == kNone || a.model != b.model || budget_[a.model] > 0;
  }

  void find_best(size_t i) {
    best_[i] = kNone;
    for (size_t j = 0; j < count_; ++j) {
      if (may_merge(i, j) && (best_[i] == kNone || similarity(i, j) > similarity(i, best_[i]))) {
        best_[i] = j;
      }
    }
  }
  void find_all_best() {
    for (size_t i = 0; i < count_; ++i) {
      find_best(i);
    }
  }

  void merge_the_most_similar() {
    size_t kept = kNone;
    for (size_t i = 0; i < count_; ++i) {
      if (best_[i] != kNone && (kept == kNone || similarity(i, best_[i]) > similarity(kept, best_[kept]))) {
        kept = i;
      }
    }
    FUSEGRID_ASSERT(kept != kNone, "no two units may be zipped");
    merge(kept, best_[kept]);  // the first of the two, since similarities are symmetric
  }

  void merge(size_t kept, size_t gone) {
    Cluster& cluster = clusters_[kept];
    const bool within = cluster.model != kNone && cluster.model == clusters_[gone].model;
    const bool was_last_within = within && --budget_[cluster.model] == 0;
    cluster.parts.insert(cluster.parts.end(), clusters_[gone].parts.begin(), clusters_[gone].parts.end());
    cluster.model = within ? cluster.model : kNone;
    cluster.closed = rule_.a <= 0;
    clusters_[gone].parts.clear();
    for (size_t k = 0; k < count_; ++k) {
      const double joint = rule_.a * std::min(similarity(kept, k), similarity(gone, k));
      similarity(kept, k) = joint;
      similarity(k, kept) = joint;
    }
    best_[gone] = kNone;
    find_best(kept);
    for (size_t k = 0; k < count_; ++k) {
      const bool forbidden = was_last_within && clusters_[k].model == cluster.model;
      if (best_[k] == kept || best_[k] == gone || forbidden) {
        find_best(k);
      } else if (best_[k] != kNone && may_merge(k, kept) && is_before(k, kept, best_[k])) {
        best_[k] = kept;
      }
    }
  }

  // Whether i is the better partner of k than j.
  bool is_before(size_t k, size_t i, size_t j) {
    return similarity(k, i) > similarity(k, j) || (similarity(k, i) == similarity(k, j) && i < j);
  }

  ZipRule rule_;
  size_t count_, units_;  // of all models, of one
  std::vector<double> similar_;
  std::vector<Cluster> clusters_;  // at the place of its first part
  std::vector<size_t> best_;       // of each cluster, the partner that it is most similar to
  std::vector<int64_t> budget_;    // of each model
};

}  // namespace

std::vector<UnitMap> zipped_units(const at::Tensor& correlations, size_t models, const ZipRule& rule) {
  FUSEGRID_ASSERT(models >= 1 && (rule.a > 0 || models <= 2), "rule of a zip");
  const at::Tensor known = correlations.detach().to(at::kCPU, at::kDouble).contiguous();
  if (!at::isfinite(known).all().item<bool>()) {
    throw DataError(
        "units can only be zipped by finite correlations, but some are NaN or infinite; look for such "
        "weights or "
        "activations in the experts");
  }
  const auto parts_of_units = Zip(known, models, rule).run();
  const auto merged = static_cast<int64_t>(parts_of_units.size());
  const int64_t units = known.size(0) / static_cast<int64_t>(models);
  at::Tensor makes = at::zeros({merged, known.size(0)}, at::kDouble);
  at::Tensor reads = at::zeros({known.size(0), merged}, at::kDouble);
  for (int64_t unit = 0; unit < merged; ++unit) {
    const std::vector<size_t>& parts = parts_of_units[static_cast<size_t>(unit)];
    for (const size_t part : parts) {
      const auto column = static_cast<int64_t>(part);
      makes.mutable_data_ptr<double>()[unit * known.size(0) + column] = 1 / static_cast<double>(parts.size());
      reads.mutable_data_ptr<double>()[column * merged + unit] = 1;
    }
  }
  std::vector<UnitMap> maps;
  for (size_t i = 0; i < models; ++i) {
    const int64_t begin = static_cast<int64_t>(i) * units;
    maps.push_back({makes.narrow(1, begin, units).to(correlations.device()),
                    reads.narrow(0, begin, units).to(correlations.device())});
  }
  return maps;
}

}  // namespace fusegrid
