#include "fusion/passes/selection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/kthvalue.h>
#include <ATen/ops/softmax.h>

#include "core/errors.h"
#include "fusion/loops/bit_counts.h"

namespace fusegrid {
namespace {

// -- the k-th smallest on CPUs: keys, integers that order like the numbers (and order what is no number somehow)

template <typename T>
using KeyOf = std::conditional_t<std::is_same_v<T, float>, uint32_t, uint64_t>;
template <typename Key>
constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);

template <typename T>
KeyOf<T> key_of(T value) {
  using Key = KeyOf<T>;
  const Key bits = std::bit_cast<Key>(value);
  const Key all_if_negative = Key{0} - (bits / kSign<Key>);
  return bits ^ (all_if_negative | kSign<Key>);
}

template <typename T>
T number_of(KeyOf<T> key) {
  using Key = KeyOf<T>;
  const Key all_if_negative = key / kSign<Key> - 1;
  return std::bit_cast<T>(key ^ (all_if_negative | kSign<Key>));
}

constexpr int64_t kChunk = 1024;

// The keys of every `stride`-th entry.
template <typename T>
std::vector<KeyOf<T>> keys_of(const T* values, int64_t size, int64_t stride) {
  std::vector<KeyOf<T>> keys;
  keys.reserve(static_cast<size_t>(size / stride + 1));
  for (int64_t i = 0; i < size; i += stride) {
    keys.push_back(key_of(values[i]));
  }
  return keys;
}

// rank: from 0
template <typename Key>
Key kth_of(std::vector<Key>& keys, int64_t rank) {
  const auto place = keys.begin() + rank;
  std::nth_element(keys.begin(), place, keys.end());
  return *place;
}

// The entries in [low, high], and how many are below.
template <typename Key>
struct Bracket {
  Key low = 0, high = 0;
  int64_t below = 0;
  std::vector<Key> inside = {};
};

template <typename T>
void fill_bracket(const T* values, int64_t size, Bracket<KeyOf<T>>& bracket) {
  using Key = KeyOf<T>;
  const Key low = bracket.low;
  const Key width = bracket.high - low;
  Key keys[kChunk];
  Key inside[kChunk];
  for (int64_t begin = 0; begin < size; begin += kChunk) {
    const int64_t count = std::min(kChunk, size - begin);
    Key below = 0;
    for (int64_t i = 0; i < count; ++i) {
      keys[i] = key_of(values[begin + i]);
      below += keys[i] < low ? Key{1} : Key{0};
    }
    size_t found = 0;
    for (int64_t i = 0; i < count; ++i) {  // no branch, which would be guessed wrong
      inside[found] = keys[i];
      found += keys[i] - low <= width ? 1 : 0;
    }
    bracket.below += static_cast<int64_t>(below);
    bracket.inside.insert(bracket.inside.end(), inside, inside + found);
  }
}

// By a sample, which says between which numbers to look, and one pass: all but a few entries are only compared. Nothing
// where the sample is not like the whole.
template <typename T>
std::optional<KeyOf<T>> kth_by_sample(const T* values, int64_t size, int64_t k) {
  constexpr int64_t kSampleStride = 61;
  constexpr int64_t kLargestSample = 16'384;
  auto sample = keys_of(values, size, std::max(kSampleStride, size / kLargestSample));
  const auto sampled = static_cast<double>(sample.size());
  const double middle = static_cast<double>(k) / static_cast<double>(size) * sampled;
  const double margin = 2 * std::sqrt(sampled) + 1;  // four standard deviations, at least
  const auto last = static_cast<double>(sample.size() - 1);
  Bracket<KeyOf<T>> bracket;
  bracket.low = kth_of(sample, static_cast<int64_t>(std::clamp(middle - margin, 0.0, last)));
  bracket.high = kth_of(sample, static_cast<int64_t>(std::clamp(middle + margin, 0.0, last)));
  fill_bracket(values, size, bracket);
  const int64_t rank = k - 1 - bracket.below;
  if (rank < 0 || rank >= static_cast<int64_t>(bracket.inside.size())) {
    return std::nullopt;
  }
  return bracket.low == bracket.high ? bracket.low : kth_of(bracket.inside, rank);
}

template <typename T>
double kth_on_cpu(const at::Tensor& contiguous, int64_t k) {
  constexpr int64_t kSmall = 1 << 13;  // a sample would take longer than it saves
  const auto* values = contiguous.const_data_ptr<T>();
  const int64_t size = contiguous.numel();
  auto key = size < kSmall ? std::nullopt : kth_by_sample(values, size, k);
  if (!key) {
    auto keys = keys_of(values, size, 1);
    key = kth_of(keys, k - 1);
  }
  return number_of<T>(*key);
}

// -- the k-th smallest on GPUs, where LibTorch's selection uses one of their many processors: with kernels only

// The count that the entry number `k` is in; `k` then counts inside it.
int64_t find_entry(const std::vector<int64_t>& counts, int64_t& k) {
  const size_t i = find_count(counts.data(), counts.size(), k);
  FUSEGRID_ASSERT(k <= counts[i], "fewer entries than k");
  return static_cast<int64_t>(i);
}

// One half of the bits: the bin that the entry number `k` is in; `k` then counts inside it.
uint32_t find_bin(const at::Tensor& values, CountRule rule, int64_t& k) {
  constexpr int64_t kGroup = 256;
  DeviceCounts on_device({rule});
  on_device.add({SliceVector(values)});
  const int64_t group = find_entry(on_device.group_sums(kGroup), k);
  return static_cast<uint32_t>(group * kGroup + find_entry(on_device.bins({group}, kGroup), k));
}

// Float32; `k` then counts among the entries that equal the one found.
double kth_by_counting(const at::Tensor& values, int64_t& k) {
  const uint32_t high = find_bin(values, {Order::kValues}, k);
  const uint32_t low = find_bin(values, {Order::kValues, true, high}, k);
  return from_ordered_bits(high << 16 | low);
}

double kth_by_torch(const at::Tensor& flat, int64_t k) {
  return std::get<0>(at::kthvalue(flat, k)).item<double>();
}

double kth_on_device(const at::Tensor& flat, int64_t k) {
  if (flat.scalar_type() == at::kFloat) {
    return kth_by_counting(flat, k);
  }
  // rounding keeps the order: look closer at what rounds to the same
  const at::Tensor rounded = flat.to(at::kFloat);
  const double value = kth_by_counting(rounded, k);
  return kth_by_torch(flat.masked_select(rounded == value), k);
}

double kth_of_flat(const at::Tensor& flat, int64_t k) {
  const bool is_double = flat.scalar_type() == at::kDouble;
  const bool is_known = is_double || flat.scalar_type() == at::kFloat;
  if (flat.is_cpu() && is_known) {
    const at::Tensor contiguous = flat.contiguous();
    return is_double ? kth_on_cpu<double>(contiguous, k) : kth_on_cpu<float>(contiguous, k);
  }
  if (device_kernels::kCompiled && flat.is_cuda() && is_known) {
    return kth_on_device(flat, k);
  }
  return kth_by_torch(flat, k);
}

// -- masks

// Larger entries than the threshold and, of those that equal it, the first `places`.
template <typename T>
void take_largest(const T* __restrict values, int64_t size, T threshold, int64_t places,
                  bool* __restrict mask) {
  for (int64_t begin = 0; begin < size; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, size);
    int64_t equal = 0;
    for (int64_t i = begin; i < end; ++i) {
      mask[i] = values[i] > threshold;
    }
    if (places == 0) {
      continue;
    }
    for (int64_t i = begin; i < end; ++i) {
      equal += values[i] == threshold ? 1 : 0;
    }
    for (int64_t i = begin; i < end && equal > 0 && places > 0; ++i) {
      const bool taken = values[i] == threshold;
      mask[i] = mask[i] || taken;
      places -= taken ? 1 : 0;
    }
  }
}

template <typename T>
at::Tensor mask_on_cpu(const at::Tensor& contiguous, int64_t count) {
  const int64_t size = contiguous.numel();
  const auto* values = contiguous.const_data_ptr<T>();
  const auto threshold = static_cast<T>(kth_on_cpu<T>(contiguous, size - count + 1));
  int64_t larger = 0;
  for (int64_t i = 0; i < size; ++i) {
    larger += values[i] > threshold ? 1 : 0;
  }
  at::Tensor mask = at::empty({size}, at::TensorOptions(at::kBool));
  take_largest(values, size, threshold, count - larger, mask.mutable_data_ptr<bool>());
  return mask;
}

at::Tensor mask_op_by_op(const at::Tensor& flat, int64_t count) {
  const double threshold = kth_of_flat(flat, flat.numel() - count + 1);
  at::Tensor mask = flat > threshold;
  const at::Tensor equal = flat == threshold;
  const at::Tensor places = count - mask.sum();  // left for entries that equal the threshold
  return mask.logical_or_(equal.logical_and(equal.cumsum(0) <= places));
}

}  // namespace

at::Tensor largest_mask(const at::Tensor& values, int64_t count) {
  if (count <= 0 || count >= values.numel()) {
    return at::full_like(values, count > 0, at::TensorOptions(at::kBool));
  }
  const at::Tensor flat = values.reshape({-1}).contiguous();
  const bool in_loops =
      flat.is_cpu() && (flat.scalar_type() == at::kFloat || flat.scalar_type() == at::kDouble);
  if (!in_loops) {
    return mask_op_by_op(flat, count).view(values.sizes());
  }
  const bool is_float = flat.scalar_type() == at::kFloat;
  return (is_float ? mask_on_cpu<float>(flat, count) : mask_on_cpu<double>(flat, count)).view(values.sizes());
}

double kth_value(const at::Tensor& values, int64_t k) {
  FUSEGRID_ASSERT(k >= 1 && k <= values.numel(), "k = " + std::to_string(k));
  return kth_of_flat(values.reshape({-1}), k);
}

at::Tensor softmax_importance(const at::Tensor& expert, const at::Tensor& base) {
  constexpr double kEpsilon = 1e-8;
  const at::Tensor p = at::softmax(expert, -1) + kEpsilon;
  const at::Tensor q = at::softmax(base, -1) + kEpsilon;
  const at::Tensor divergence = (p * (p / q).log()).sum({-1}, true);
  return (expert - base).abs() * divergence;
}

}  // namespace fusegrid
