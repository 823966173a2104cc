#include "fusion/passes/changed_entries.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/loops/entry_loops.h"

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

// The counts chunk by chunk on CPUs; in loops of one step each, of which compilers make vector instructions.

// changed: 1 or 0, added to `vectors`
void mark_changed(const float* __restrict values, int64_t size, float epsilon, float* __restrict changed,
                  float* __restrict vectors) {
  for (int64_t i = 0; i < size; ++i) {
    changed[i] = std::fabs(values[i]) > epsilon ? 1.0F : 0.0F;
  }
  for (int64_t i = 0; i < size; ++i) {
    vectors[i] += changed[i];
  }
}

void count_changed(const float* changed, const float* vectors, int64_t size, ChangedEntries& entries) {
  int32_t all = 0;
  int32_t unique = 0;
  for (int64_t i = 0; i < size; ++i) {
    const auto here = static_cast<int32_t>(changed[i]);
    all += here;
    unique += vectors[i] == 1 ? here : 0;
  }
  entries.shared += all - unique;
  entries.unique += unique;
}

void count_in_chunks(const std::vector<SliceVector>& vectors, double epsilon,
                     std::vector<ChangedEntries>& entries) {
  ChunkReader reader(vectors);
  std::vector<float> changed(vectors.size() * static_cast<size_t>(ChunkReader::kChunk));
  const auto changed_by = [&](size_t vector) {
    return &changed[vector * static_cast<size_t>(ChunkReader::kChunk)];
  };
  float scratch[ChunkReader::kChunk];
  float changing[ChunkReader::kChunk];  // vectors that change an entry
  reader.for_each_chunk([&](int64_t, int64_t size) {
    std::fill_n(changing, size, 0.0F);
    for (size_t i = 0; i < vectors.size(); ++i) {
      mark_changed(reader.read(i, scratch), size, static_cast<float>(epsilon), changed_by(i), changing);
    }
    for (size_t i = 0; i < vectors.size(); ++i) {
      count_changed(changed_by(i), changing, size, entries[i]);
    }
  });
}

}  // namespace

std::vector<ChangedEntries> changed_entries(const std::vector<SliceVector>& vectors, double epsilon) {
  std::vector<ChangedEntries> entries(vectors.size());
  if (all_chunked(vectors)) {
    count_in_chunks(vectors, epsilon, entries);
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
