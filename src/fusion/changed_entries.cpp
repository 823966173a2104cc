#include "fusion/changed_entries.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/entry_loops.h"

namespace fusegrid {
namespace {

// Operation by operation, for GPUs and float64.
struct Changes {
  std::vector<at::Tensor> kept;     // zero where unchanged
  std::vector<at::Tensor> changed;  // bool
  at::Tensor count;                 // of vectors that change the entry
};

Changes changes(const std::vector<SliceVector>& vectors, double epsilon) {
  Changes found;
  for (const SliceVector& vector : vectors) {
    const at::Tensor values = vector.tensor();
    found.changed.push_back(values.abs() > epsilon);
    found.kept.push_back(values * found.changed.back());
    if (!found.count.defined()) {
      found.count = at::zeros_like(values);
    }
    found.count.add_(found.changed.back());
  }
  return found;
}

// The same chunk by chunk on CPUs; in loops of one step each, of which compilers make vector instructions.
class ChangedChunks {
 public:
  static constexpr int64_t kChunk = ChunkReader::kChunk;

  ChangedChunks(const std::vector<SliceVector>& vectors, double epsilon)
      : reader_(vectors),
        epsilon_(static_cast<float>(epsilon)),
        kept_(vectors.size() * static_cast<size_t>(kChunk)) {}

  void count(std::vector<ChangedEntries>& entries) {
    reader_.for_each_chunk([&](int64_t, int64_t size) {
      load(size);
      for (size_t index = 0; index < entries.size(); ++index) {
        count_chunk(kept(index), size, entries[index]);
      }
    });
  }

 private:
  float* kept(size_t index) { return &kept_[index * static_cast<size_t>(kChunk)]; }

  // What the vectors change in a chunk, and how many change each entry.
  void load(int64_t size) {
    std::fill_n(counts_, size, 0.0F);
    float scratch[kChunk];
    for (size_t index = 0; index < reader_.num_vectors(); ++index) {
      keep_changed(reader_.read(index, scratch), size, epsilon_, kept(index), counts_);
    }
  }

  static void keep_changed(const float* __restrict from, int64_t size, float epsilon, float* __restrict to,
                           float* __restrict counts) {
    for (int64_t i = 0; i < size; ++i) {
      to[i] = std::fabs(from[i]) > epsilon ? 1.0F : 0.0F;
    }
    for (int64_t i = 0; i < size; ++i) {
      counts[i] += to[i];
      to[i] *= from[i];
    }
  }

  void count_chunk(const float* __restrict values, int64_t size, ChangedEntries& entries) const {
    int32_t changed = 0;
    int32_t unique = 0;
    for (int64_t i = 0; i < size; ++i) {
      const int32_t here = std::fabs(values[i]) > epsilon_ ? 1 : 0;
      changed += here;
      unique += counts_[i] == 1 ? here : 0;
    }
    entries.shared += changed - unique;
    entries.unique += unique;
  }

  ChunkReader reader_;
  float epsilon_;
  std::vector<float> kept_;  // [vectors][kChunk]
  float counts_[kChunk];
};

}  // namespace

std::vector<ChangedEntries> changed_entries(const std::vector<SliceVector>& vectors, double epsilon) {
  std::vector<ChangedEntries> entries(vectors.size());
  if (all_chunked(vectors)) {
    ChangedChunks(vectors, epsilon).count(entries);
    return entries;
  }
  const Changes found = changes(vectors, epsilon);
  for (size_t i = 0; i < vectors.size(); ++i) {
    entries[i].shared = found.changed[i].logical_and(found.count > 1).sum().item<int64_t>();
    entries[i].unique = found.changed[i].logical_and(found.count == 1).sum().item<int64_t>();
  }
  return entries;
}

at::Tensor mean_of_changes(const std::vector<SliceVector>& vectors, double epsilon,
                           const std::vector<double>& factors) {
  if (rules_fit(vectors)) {
    std::vector<float> more;
    for (const double factor : factors) {
      more.push_back(static_cast<float>(factor - 1));
    }
    return apply_rule(vectors, more, MeanOfChanges{static_cast<float>(epsilon)});
  }
  const Changes found = changes(vectors, epsilon);
  const at::Tensor unique = found.count == 1;
  at::Tensor mean = sum_of(found.kept) / found.count.clamp_min(1);
  for (size_t i = 0; i < vectors.size(); ++i) {
    mean.add_(found.kept[i] * unique, factors[i] - 1);
  }
  return mean;
}

}  // namespace fusegrid
