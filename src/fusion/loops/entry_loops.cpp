#include "fusion/loops/entry_loops.h"

#include <algorithm>

namespace fusegrid {
namespace {

// Vectors often begin at the same place of a page, so that one entry of each meets in the same few lines of the
// innermost cache: 12 of them in 2026. More are copied, so few entries at a time that they stay there, and each a line
// further.
constexpr size_t kMostInPlace = 10;
constexpr int64_t kCopiedEntries = int64_t{1} << 13;
constexpr int64_t kLine = 16;

bool has_common_minus(const std::vector<SliceVector>& vectors) {
  return std::all_of(vectors.begin(), vectors.end(), [&](const SliceVector& vector) {
    return vector.minus.is_same(vectors.front().minus);  // two undefined tensors are the same
  });
}

bool has_drops(const std::vector<SliceVector>& vectors) {
  return std::any_of(vectors.begin(), vectors.end(),
                     [](const SliceVector& vector) { return vector.drop.has_value(); });
}

bool all_stored_as(const std::vector<SliceVector>& vectors, at::ScalarType type) {
  return std::all_of(vectors.begin(), vectors.end(), [&](const SliceVector& vector) {
    return vector.values.scalar_type() == type &&
           (!vector.minus.defined() || vector.minus.scalar_type() == type);
  });
}

}  // namespace

EntryLoops::EntryLoops(const std::vector<SliceVector>& vectors, std::vector<float> numbers)
    : reader_(vectors), numbers_(std::move(numbers)) {
  const bool uniform = vectors.size() <= kMostInPlace && has_common_minus(vectors);
  if (uniform && all_stored_as(vectors, at::kFloat)) {
    stored_as_ = Stored::kFloat;
    floats_ = in_place<float>();
  } else if (uniform && all_stored_as(vectors, at::kBFloat16)) {
    stored_as_ = Stored::kBFloat16;
    bfloats_ = in_place<at::BFloat16>();
  } else {
    const auto num_vectors = static_cast<int64_t>(vectors.size());
    part_ = std::clamp(kCopiedEntries / num_vectors / kLine * kLine, kLine, kChunk);
    copies_.resize(vectors.size() * static_cast<size_t>(part_ + kLine));
    floats_.values.resize(vectors.size());
  }
  if (stored_as_ != Stored::kMixed && has_drops(vectors)) {
    for (const SliceVector& vector : vectors) {
      factors_.push_back(vector.drop ? static_cast<float>(vector.drop->factor) : 1);
    }
    kept_.resize(vectors.size() * kChunk);
  }
}

template <typename T>
StoredVectors<T> EntryLoops::in_place() const {
  StoredVectors<T> all;
  for (const at::Tensor& values : reader_.values_) {
    all.values.push_back(values.const_data_ptr<T>());
  }
  if (reader_.minus_.front().defined()) {
    all.minus = reader_.minus_.front().template const_data_ptr<T>();
  }
  return all;
}

void EntryLoops::read_part(int64_t begin, int64_t count) {
  reader_.start(begin, count);
  for (size_t i = 0; i < reader_.num_vectors(); ++i) {
    floats_.values[i] = reader_.read(i, &copies_[i * static_cast<size_t>(part_ + kLine)]);
  }
}

void EntryLoops::choose_kept(int64_t begin, int64_t count) {
  for (size_t i = 0; i < factors_.size(); ++i) {
    const RandomDrop drop = reader_.drops_[i].value_or(RandomDrop{});  // of none all stay
    fill_kept(DropRule(drop.key, drop.rate), drop.begin + begin, count, &kept_[i * kChunk]);
  }
}

DeviceVectors::DeviceVectors(const std::vector<SliceVector>& vectors, const std::vector<float>& numbers) {
  const bool subtract = has_common_minus(vectors) && all_stored_as(vectors, at::kFloat);
  all.count = static_cast<int>(vectors.size());
  const auto pointer = [&](const at::Tensor& values) {
    alive.push_back(values.to(at::kFloat).contiguous());
    return alive.back().const_data_ptr<float>();
  };
  for (size_t i = 0; i < vectors.size(); ++i) {
    FUSEGRID_ASSERT(vectors[i].values.numel() == vectors[0].values.numel(), "vectors of different lengths");
    all.values[i] =
        pointer(subtract ? vectors[i].values : SliceVector(vectors[i].values, vectors[i].minus).tensor());
  }
  std::copy(numbers.begin(), numbers.end(), all.numbers);
  if (subtract && vectors.front().minus.defined()) {
    all.minus = pointer(vectors.front().minus);
  }
  if (has_drops(vectors)) {
    choose_kept(vectors);
  }
}

void DeviceVectors::choose_kept(const std::vector<SliceVector>& vectors) {
  const at::Tensor& first = vectors[0].values;
  device_kernels::Drops drops{};
  for (size_t i = 0; i < vectors.size(); ++i) {
    const RandomDrop drop = vectors[i].drop.value_or(RandomDrop{});  // of none all stay
    drops.rules[i] = DropRule(drop.key, drop.rate);
    drops.begins[i] = drop.begin;
    all.factors[i] = static_cast<float>(drop.factor);
  }
  alive.push_back(at::empty({all.count, device_kernels::kept_words(first.numel())},
                            at::TensorOptions(first.device()).dtype(at::kInt)));
  auto* kept = reinterpret_cast<uint32_t*>(alive.back().mutable_data_ptr<int32_t>());
  if constexpr (device_kernels::kCompiled) {
    device_kernels::fill_kept(drops, all.count, first.numel(), kept,
                              current_stream(first.device()).native_handle());
  }
  all.kept = kept;
}

bool rules_fit(const std::vector<SliceVector>& vectors) {
  if (all_chunked(vectors)) {
    return true;
  }
  const auto fits = [](const at::Tensor& tensor) {
    return !tensor.defined() ||
           (tensor.is_cuda() && tensor.scalar_type() != at::kDouble && !tensor.requires_grad());
  };
  return device_kernels::kCompiled && vectors.size() <= device_kernels::kMaxVectors &&
         std::all_of(vectors.begin(), vectors.end(),
                     [&](const SliceVector& vector) { return fits(vector.values) && fits(vector.minus); });
}

}  // namespace fusegrid
