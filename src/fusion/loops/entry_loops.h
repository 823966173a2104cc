// The rules of entry_rules.h over the vectors of a slice. On CPUs eight entries at a time, read in the dtype in which
// they are stored; on GPUs by kernels, where those were compiled. No vector is written anywhere, and each is read once
// from memory. The bits are those of one operation on whole tensors after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ATen/ops/empty.h>

#include "core/errors.h"
#include "fusion/engines/stream_device.h"
#include "fusion/loops/device_kernels.h"
#include "fusion/loops/entry_rules.h"
#include "fusion/loops/slice_vector.h"

namespace fusegrid {

// One number, or eight side by side: Lanes.
template <typename Number, typename Stored>
Number load(const Stored* from) {
  if constexpr (std::is_same_v<Number, float>) {
    return static_cast<float>(*from);
  } else {
    return load_lanes(from);
  }
}

// Vectors as loops read them.
template <typename Stored>
struct StoredVectors {
  std::vector<const Stored*> values;
  const Stored* minus = nullptr;  // what is subtracted from each, or null
  // Of random drops, or null: from `kept` on, vector by vector kChunk places, whether entries from `kept_begin` on stay
  // (-1, else 0), and what those are multiplied by.
  const int8_t* kept = nullptr;
  int64_t kept_begin = 0;
  const float* factors = nullptr;
};

// The number where `kept` says -1, else zero; for one entry or eight.
template <typename Number>
Number number_if(const int8_t* kept, float number) {
  if constexpr (std::is_same_v<Number, float>) {
    return *kept != 0 ? number : 0.0F;
  } else {
    return std::bit_cast<Lanes>(load_mask(kept) & std::bit_cast<LaneInts>(Lanes{} + number));
  }
}

// An entry (or eight) of them.
template <typename Number, typename Stored, bool kMinus, bool kDrop>
class StoredEntry {
 public:
  StoredEntry(const StoredVectors<Stored>& vectors, const std::vector<float>& numbers, int64_t place)
      : vectors_(vectors), numbers_(numbers.data()), place_(place) {
    if constexpr (kMinus) {
      minus_ = load<Number>(vectors.minus + place);
    }
  }
  int count() const { return static_cast<int>(vectors_.values.size()); }
  float number(int i) const { return numbers_[i]; }
  Number operator()(int i) const {
    auto value = load<Number>(vectors_.values[static_cast<size_t>(i)] + place_);
    if constexpr (kMinus) {
      value = value - minus_;
    }
    if constexpr (kDrop) {
      const int8_t* kept = vectors_.kept + i * ChunkReader::kChunk + (place_ - vectors_.kept_begin);
      value = value * number_if<Number>(kept, vectors_.factors[i]);
    }
    return value;
  }

 private:
  const StoredVectors<Stored>& vectors_;
  const float* numbers_;
  int64_t place_;
  Number minus_;
};

// Vectors on the CPU. Where they are few, all float32 or all bfloat16, with one subtrahend or none, rules read them
// where they are; else from float32 copies of a part at a time.
class EntryLoops {
 public:
  static constexpr int64_t kChunk = ChunkReader::kChunk;

  // Vectors that is_chunked() holds for, at least one; a number for each, for rules that take numbers.
  explicit EntryLoops(const std::vector<SliceVector>& vectors, std::vector<float> numbers = {});
  int64_t elements() const { return reader_.elements(); }

  // The rule's results for the entries from `begin` on.
  template <typename Rule>
  void apply(const Rule& rule, int64_t begin, int64_t count, float* out) {
    visit_parts(begin, count, [&](const auto& from, int64_t place, int64_t done, int64_t size) {
      for_each_entry(from, place, size,
                     [&](const auto& entry, int64_t i) { store(rule(entry), out + done + i); });
    });
  }

  // The rule's results for each vector, out[vector]. A part of one vector after the other, so that memory that is
  // written is not as far apart as the vectors are; past the caches, which so many results do not fit.
  template <typename Rule>
  void apply_to_each(const Rule& rule, const std::vector<const float*>& shared, int64_t begin, int64_t count,
                     const std::vector<float*>& out) {
    for (int64_t chunk = 0; chunk < count; chunk += kChunk) {
      const auto visit = [&](const auto& from, int64_t place, int64_t done, int64_t size) {
        const int64_t first = chunk + done;
        for (size_t vector = 0; vector < out.size(); ++vector) {
          for_each_entry(from, place, size, [&](const auto& entry, int64_t i) {
            using Number = decltype(entry(0));
            const auto shared_entry = [&](int k) {
              return load<Number>(shared[static_cast<size_t>(k)] + begin + first + i);
            };
            stream(rule(entry, static_cast<int>(vector), shared_entry), out[vector] + first + i);
          });
        }
      };
      visit_parts(begin + chunk, std::min(kChunk, count - chunk), visit);
    }
    end_stream();
  }

 private:
  enum class Stored { kFloat, kBFloat16, kMixed };

  template <typename T>
  StoredVectors<T> in_place() const;
  void read_part(int64_t begin, int64_t count);
  // Calls visit for parts of so many entries that what stays of them is known at once.
  template <typename T, typename Visit>
  void visit_in_place(StoredVectors<T>& vectors, int64_t begin, int64_t count, const Visit& visit) {
    if (factors_.empty()) {
      return visit(vectors, begin, 0, count);
    }
    vectors.kept = kept_.data();
    vectors.factors = factors_.data();
    for (int64_t done = 0; done < count; done += kChunk) {
      const int64_t size = std::min(kChunk, count - done);
      vectors.kept_begin = begin + done;
      choose_kept(begin + done, size);
      visit(vectors, begin + done, done, size);
    }
  }
  void choose_kept(int64_t begin, int64_t count);

  // Calls visit(from, place, done, size) for parts of the `count` entries from `begin` on: `size` entries after `done`
  // of them are at from's `place`.
  template <typename Visit>
  void visit_parts(int64_t begin, int64_t count, const Visit& visit) {
    switch (stored_as_) {
      case Stored::kFloat:
        return visit_in_place(floats_, begin, count, visit);
      case Stored::kBFloat16:
        return visit_in_place(bfloats_, begin, count, visit);
      case Stored::kMixed:
        for (int64_t done = 0; done < count; done += part_) {
          const int64_t size = std::min(part_, count - done);
          read_part(begin + done, size);
          visit(floats_, 0, done, size);
        }
    }
  }

  // Calls visit(entry, i) for entry, or eight entries, number i from `begin` on.
  template <typename T, typename Visit>
  void for_each_entry(const StoredVectors<T>& from, int64_t begin, int64_t count, const Visit& visit) const {
    if (from.kept != nullptr) {
      return from.minus != nullptr ? run_through<true, true>(from, begin, count, visit)
                                   : run_through<false, true>(from, begin, count, visit);
    }
    return from.minus != nullptr ? run_through<true, false>(from, begin, count, visit)
                                 : run_through<false, false>(from, begin, count, visit);
  }
  template <bool kMinus, bool kDrop, typename T, typename Visit>
  void run_through(const StoredVectors<T>& from, int64_t begin, int64_t count, const Visit& visit) const {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      visit(StoredEntry<Lanes, T, kMinus, kDrop>(from, numbers_, begin + i), i);
    }
    for (; i < count; ++i) {
      visit(StoredEntry<float, T, kMinus, kDrop>(from, numbers_, begin + i), i);
    }
  }

  static void stream(const Lanes& lanes, float* to) { stream_lanes(lanes, to); }
  static void stream(float number, float* to) { *to = number; }
  static void store(const Lanes& lanes, float* to) { store_lanes(lanes, to); }
  static void store(float number, float* to) { *to = number; }

  ChunkReader reader_;
  std::vector<float> numbers_;
  Stored stored_as_ = Stored::kMixed;
  StoredVectors<float> floats_;
  StoredVectors<at::BFloat16> bfloats_;
  std::vector<int8_t> kept_;  // of random drops in place: StoredVectors'
  std::vector<float> factors_;
  int64_t part_ = kChunk;      // of kMixed: entries,
  std::vector<float> copies_;  // and the vectors' copies of them
};

// Vectors as kernels take them, and what keeps their memory alive.
struct DeviceVectors {
  DeviceVectors(const std::vector<SliceVector>& vectors, const std::vector<float>& numbers);
  device_kernels::Vectors all{};
  std::vector<at::Tensor> alive;

 private:
  void choose_kept(const std::vector<SliceVector>& vectors);
};

// Whether apply_rule() can read the vectors: on a CPU, or few enough on a GPU with kernels; float32 or less, and
// outside of graphs of gradients. Else callers go operation by operation.
bool rules_fit(const std::vector<SliceVector>& vectors);

// float32, of the shape of the first vector.
template <typename Rule>
at::Tensor apply_rule(const std::vector<SliceVector>& vectors, const std::vector<float>& numbers,
                      const Rule& rule) {
  FUSEGRID_ASSERT(rules_fit(vectors), "vectors that rules cannot read");
  const at::Tensor& first = vectors[0].values;
  at::Tensor results = at::empty(first.sizes(), at::TensorOptions(first.device()).dtype(at::kFloat));
  auto* out = results.mutable_data_ptr<float>();
  if (first.is_cpu()) {
    EntryLoops(vectors, numbers).apply(rule, 0, results.numel(), out);
  } else if constexpr (device_kernels::kCompiled) {
    const DeviceVectors on_device(vectors, numbers);
    device_kernels::apply(on_device.all, results.numel(), rule, out,
                          current_stream(first.device()).native_handle());
  }
  return results;
}

// The results of a rule for each vector. shared: float32, of the vectors' device and length. results: where they are
// put, as Slice::results, or nothing.
template <typename Rule>
std::vector<at::Tensor> apply_rule_to_each(const std::vector<SliceVector>& vectors,
                                           const std::vector<at::Tensor>& shared,
                                           const std::vector<float>& numbers, const Rule& rule,
                                           std::vector<at::Tensor> results = {}) {
  FUSEGRID_ASSERT(rules_fit(vectors), "vectors that rules cannot read");
  const at::Tensor& first = vectors[0].values;
  std::vector<at::Tensor> contiguous;
  std::vector<const float*> from;
  for (const at::Tensor& tensor : shared) {
    FUSEGRID_ASSERT(tensor.numel() == first.numel(), "shared entries of another number");
    contiguous.push_back(tensor.contiguous());
    from.push_back(contiguous.back().const_data_ptr<float>());
  }
  if (results.empty()) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      results.push_back(at::empty(first.sizes(), at::TensorOptions(first.device()).dtype(at::kFloat)));
    }
  }
  FUSEGRID_ASSERT(results.size() == vectors.size(), "memory for another number of results");
  std::vector<float*> out;
  for (const at::Tensor& result : results) {
    FUSEGRID_ASSERT(result.numel() == first.numel() && result.is_contiguous(), "memory that fits no result");
    out.push_back(result.mutable_data_ptr<float>());
  }
  if (first.is_cpu()) {
    EntryLoops(vectors, numbers).apply_to_each(rule, from, 0, first.numel(), out);
  } else if constexpr (device_kernels::kCompiled) {
    const DeviceVectors on_device(vectors, numbers);
    device_kernels::Each each{};
    FUSEGRID_ASSERT(from.size() <= device_kernels::kMaxShared, "more shared vectors than kernels take");
    std::copy(from.begin(), from.end(), each.shared);
    std::copy(out.begin(), out.end(), each.out);
    device_kernels::apply_to_each(on_device.all, each, first.numel(), rule,
                                  current_stream(first.device()).native_handle());
  }
  return results;
}

}  // namespace fusegrid
