#include "fusion/loops/slice_vector.h"

#include <algorithm>
#include <bit>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/where.h>

#include "core/errors.h"
#include "fusion/loops/entry_loops.h"
#include "fusion/passes/drop_rule.h"

namespace fusegrid {
namespace {

bool is_float32_or_less(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
}

at::Tensor widened(const at::Tensor& tensor) {
  return is_float32_or_less(tensor) ? tensor.to(at::kFloat) : tensor;
}

float number(float stored) {
  return stored;
}

float number(at::Half stored) {
  return static_cast<float>(stored);
}

float number(at::BFloat16 stored) {
  return std::bit_cast<float>(uint32_t{stored.x} << 16);
}

template <typename Stored>
void widen(const Stored* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = number(from[i]);
  }
}

template <typename Stored>
void subtract(const Stored* __restrict values, const float* __restrict minus, int64_t count,
              float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = number(values[i]) - minus[i];
  }
}

// Calls `use` with a pointer to the entries from `begin` on, of the dtype in which they are stored.
template <typename Use>
auto with_stored(const at::Tensor& contiguous, int64_t begin, const Use& use) {
  switch (contiguous.scalar_type()) {
    case at::kBFloat16:
      return use(contiguous.const_data_ptr<at::BFloat16>() + begin);
    case at::kHalf:
      return use(contiguous.const_data_ptr<at::Half>() + begin);
    default:
      return use(contiguous.const_data_ptr<float>() + begin);
  }
}

float number_at(const at::Tensor& contiguous, int64_t index) {
  return with_stored(contiguous, index, [](const auto* stored) { return number(*stored); });
}

// The entries as float32: in `scratch`, or where they are stored.
const float* widened(const at::Tensor& contiguous, int64_t begin, int64_t count, float* scratch) {
  if (contiguous.scalar_type() == at::kFloat) {
    return contiguous.const_data_ptr<float>() + begin;
  }
  with_stored(contiguous, begin, [&](const auto* stored) { widen(stored, count, scratch); });
  return scratch;
}

// At most kChunk entries.
void drop_at_random(const RandomDrop& drop, int64_t begin, int64_t count, float* values) {
  int8_t kept[ChunkReader::kChunk];
  fill_kept(DropRule(drop.key, drop.rate), drop.begin + begin, count, kept);
  const auto factor = static_cast<float>(drop.factor);
  for (int64_t i = 0; i < count; ++i) {
    values[i] *= kept[i] != 0 ? factor : 0.0F;
  }
}

at::Tensor dropped_at_random(const SliceVector& vector) {
  if (rules_fit({vector})) {
    return apply_rule({vector}, {}, Sum{});
  }
  const at::Tensor all = SliceVector(vector.values, vector.minus).tensor();
  const at::Tensor factors = at::where(kept_entries(*vector.drop, all), vector.drop->factor, 0.0);
  return all * factors.to(all.scalar_type());
}

}  // namespace

SliceVector::SliceVector(at::Tensor all, at::Tensor subtrahend)
    : values(std::move(all)), minus(std::move(subtrahend)) {}

at::Tensor SliceVector::tensor() const {
  if (drop) {
    return dropped_at_random(*this);
  }
  return minus.defined() ? at::sub(widened(values), widened(minus)) : widened(values);
}

bool SliceVector::is_chunked() const {
  const auto fits = [](const at::Tensor& tensor) {
    return tensor.is_cpu() && is_float32_or_less(tensor) && !tensor.requires_grad();
  };
  return fits(values) && (!minus.defined() || fits(minus));
}

at::Tensor kept_entries(const RandomDrop& drop, const at::Tensor& like) {
  SliceVector ones(at::ones(like.sizes(), at::TensorOptions(like.device()).dtype(at::kFloat)));
  if (!rules_fit({ones})) {  // a GPU without kernels
    ones.values = ones.values.cpu();
  }
  ones.drop = {drop.key, drop.begin, drop.rate, 1};
  return (ones.tensor() > 0).to(like.device());
}

std::vector<SliceVector> views(const std::vector<at::Tensor>& tensors) {
  std::vector<SliceVector> vectors;
  for (const at::Tensor& tensor : tensors) {
    vectors.emplace_back(tensor);
  }
  return vectors;
}

std::vector<at::Tensor> tensors_of(const std::vector<SliceVector>& vectors) {
  std::vector<at::Tensor> tensors;
  for (const SliceVector& vector : vectors) {
    tensors.push_back(vector.tensor());
  }
  return tensors;
}

bool all_chunked(const std::vector<SliceVector>& vectors) {
  return std::all_of(vectors.begin(), vectors.end(),
                     [](const SliceVector& vector) { return vector.is_chunked(); });
}

ChunkReader::ChunkReader(const std::vector<SliceVector>& vectors) : elements_(vectors.at(0).values.numel()) {
  FUSEGRID_ASSERT(all_chunked(vectors), "a vector that is not on the CPU, float64, or of a graph");
  common_minus_ = vectors[0].minus.defined();
  for (const SliceVector& vector : vectors) {
    FUSEGRID_ASSERT(vector.values.numel() == elements_, "vectors of different lengths");
    values_.push_back(vector.values.contiguous());
    minus_.push_back(vector.minus.defined() ? vector.minus.contiguous() : vector.minus);
    drops_.push_back(vector.drop);
    common_minus_ = common_minus_ && minus_.back().is_same(minus_.front());
  }
}

void ChunkReader::start(int64_t begin, int64_t count) {
  begin_ = begin;
  count_ = count;
  if (common_minus_) {
    minus_chunk_ = widened(minus_.front(), begin_, count_, minus_scratch_);
  }
}

const float* ChunkReader::read(size_t vector, float* scratch) {
  const float* values = scratch;
  if (!minus_[vector].defined()) {
    values = widened(values_[vector], begin_, count_, scratch);
  } else {
    if (!common_minus_) {
      minus_chunk_ = widened(minus_[vector], begin_, count_, minus_scratch_);
    }
    with_stored(values_[vector], begin_,
                [&](const auto* stored) { subtract(stored, minus_chunk_, count_, scratch); });
  }
  if (!drops_[vector]) {
    return values;
  }
  if (values != scratch) {
    std::copy_n(values, count_, scratch);
  }
  drop_at_random(*drops_[vector], begin_, count_, scratch);
  return scratch;
}

float ChunkReader::at(size_t vector, int64_t i) const {
  float value = number_at(values_[vector], begin_ + i);
  if (minus_[vector].defined()) {
    value -= number_at(minus_[vector], begin_ + i);
  }
  if (drops_[vector]) {
    drop_at_random(*drops_[vector], begin_ + i, 1, &value);
  }
  return value;
}

at::Tensor sum_of(const std::vector<SliceVector>& vectors) {
  if (rules_fit(vectors)) {
    return apply_rule(vectors, {}, Sum{});
  }
  at::Tensor sum = vectors.at(0).tensor();
  if (sum.is_alias_of(vectors[0].values)) {
    sum = sum.clone();
  }
  for (size_t i = 1; i < vectors.size(); ++i) {
    sum.add_(vectors[i].tensor());
  }
  return sum;
}

at::Tensor weighted_sum_of(const std::vector<SliceVector>& vectors, const std::vector<double>& weights) {
  if (rules_fit(vectors)) {
    return apply_rule(vectors, {weights.begin(), weights.end()}, WeightedSum{});
  }
  at::Tensor sum = vectors.at(0).tensor() * weights[0];
  for (size_t i = 1; i < vectors.size(); ++i) {
    sum.add_(vectors[i].tensor(), weights[i]);
  }
  return sum;
}

at::Tensor add_scaled(const SliceVector& vector, const at::Tensor& step, double scale) {
  if (const std::vector<SliceVector> both{vector, SliceVector(step)}; rules_fit(both)) {
    return apply_rule(both, {1, static_cast<float>(scale)}, AddScaled{});
  }
  return at::add(vector.tensor(), step, scale);
}

at::Tensor largest_of(const std::vector<SliceVector>& vectors) {
  if (rules_fit(vectors)) {
    return apply_rule(vectors, {}, Largest{});
  }
  at::Tensor largest = vectors.at(0).tensor();
  for (size_t i = 1; i < vectors.size(); ++i) {
    const at::Tensor other = vectors[i].tensor();
    largest = at::where(other.abs() >= largest.abs(), other, largest);
  }
  return largest;
}

at::Tensor sum_of(const std::vector<at::Tensor>& tensors) {
  return sum_of(views(tensors));
}

at::Tensor mean_of(const std::vector<SliceVector>& vectors) {
  if (rules_fit(vectors)) {
    return apply_rule(vectors, {}, Mean{});
  }
  return sum_of(vectors).div_(static_cast<double>(vectors.size()));
}

at::Tensor mean_of(const std::vector<at::Tensor>& tensors) {
  return mean_of(views(tensors));
}

}  // namespace fusegrid
