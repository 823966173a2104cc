// The rules of entry_rules.h over the vectors of a slice. On CPUs eight entries at a time, read in the dtype in which they are
// stored; on GPUs by kernels, where those were compiled. No vector is written anywhere, and each is read once from memory.
// The bits are those of one operation on whole tensors after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ATen/ops/empty.h>

#include "core/errors.h"
#include "fusion/device_kernels.h"
#include "fusion/entry_rules.h"
#include "fusion/slice_vector.h"
#include "fusion/stream_device.h"

namespace fusegrid {

// An entry (or eight: Lanes) of vectors stored as `Stored`, less an entry of `minus` where there is one.
template <typename Number, typename Stored, bool kMinus>
class StoredEntry {
 public:
  StoredEntry(const std::vector<const Stored*>& values, const Stored* minus,
              const std::vector<float>& numbers, int64_t place)
      : values_(values.data()),
        numbers_(numbers.data()),
        count_(static_cast<int>(values.size())),
        place_(place) {
    if constexpr (kMinus) {
      minus_ = load(minus + place);
    }
  }
  int count() const { return count_; }
  float number(int i) const { return numbers_[i]; }
  Number operator()(int i) const {
    const Number value = load(values_[i] + place_);
    if constexpr (kMinus) {
      return value - minus_;
    } else {
      return value;
    }
  }

 private:
  static Number load(const Stored* from) {
    if constexpr (std::is_same_v<Number, float>) {
      return static_cast<float>(*from);
    } else {
      return load_lanes(from);
    }
  }

  const Stored* const* values_;
  const float* numbers_;
  int count_;
  int64_t place_;
  Number minus_;
};

// Vectors on the CPU. Where they are few, all float32 or all bfloat16, with one subtrahend or none and nothing dropped, rules
// read them where they are; else from float32 copies of a part at a time.
class EntryLoops {
 public:
  static constexpr int64_t kChunk = ChunkReader::kChunk;

  // Vectors that is_chunked() holds for, at least one; a number for each, for rules that take numbers.
  explicit EntryLoops(const std::vector<SliceVector>& vectors, std::vector<float> numbers = {});
  int64_t elements() const { return reader_.elements(); }

  // The rule's results for the entries from `begin` on.
  template <typename Rule>
  void apply(const Rule& rule, int64_t begin, int64_t count, float* out) {
    switch (stored_as_) {
      case Stored::kFloat:
        return run(floats_, rule, begin, count, out);
      case Stored::kBFloat16:
        return run(bfloats_, rule, begin, count, out);
      case Stored::kMixed:
        for (int64_t done = 0; done < count; done += part_) {
          const int64_t size = std::min(part_, count - done);
          read_part(begin + done, size);
          run(floats_, rule, 0, size, out + done);
        }
    }
  }

 private:
  enum class Stored { kFloat, kBFloat16, kMixed };
  template <typename T>
  struct Pointers {
    std::vector<const T*> values;
    const T* minus = nullptr;
  };

  template <typename T>
  Pointers<T> pointers() const;
  void read_part(int64_t begin, int64_t count);

  template <typename T, typename Rule>
  void run(const Pointers<T>& from, const Rule& rule, int64_t begin, int64_t count, float* out) const {
    return from.minus != nullptr ? run_through<true>(from, rule, begin, count, out)
                                 : run_through<false>(from, rule, begin, count, out);
  }
  template <bool kMinus, typename T, typename Rule>
  void run_through(const Pointers<T>& from, const Rule& rule, int64_t begin, int64_t count,
                   float* out) const {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      store_lanes(rule(StoredEntry<Lanes, T, kMinus>(from.values, from.minus, numbers_, begin + i)), out + i);
    }
    for (; i < count; ++i) {
      out[i] = rule(StoredEntry<float, T, kMinus>(from.values, from.minus, numbers_, begin + i));
    }
  }

  ChunkReader reader_;
  std::vector<float> numbers_;
  Stored stored_as_ = Stored::kMixed;
  Pointers<float> floats_;
  Pointers<at::BFloat16> bfloats_;
  int64_t part_ = kChunk;      // of kMixed: entries,
  std::vector<float> copies_;  // and the vectors' copies of them
};

// Vectors as kernels take them, and what keeps their memory alive.
struct DeviceVectors {
  DeviceVectors(const std::vector<SliceVector>& vectors, const std::vector<float>& numbers);
  device_kernels::Vectors all{};
  std::vector<at::Tensor> alive;
};

// Whether apply_rule() can read the vectors: on a CPU, or few enough on a GPU with kernels; float32 or less, and outside of
// graphs of gradients. Else callers go operation by operation.
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

}  // namespace fusegrid
