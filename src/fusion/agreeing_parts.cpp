#include "fusion/agreeing_parts.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/where.h>

#include "fusion/entry_loops.h"

namespace fusegrid {
namespace {

void keep_agreeing(const float* __restrict own, const float* __restrict unified, int64_t count,
                   float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = AgreeingPart::of(own[i], unified[i]);
  }
}

// In lanes, of which compilers make vector instructions; then these and the rest in order.
double sum_of_magnitudes(const float* values, int64_t count) {
  constexpr int64_t kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += static_cast<double>(std::fabs(values[i + lane]));
    }
  }
  double sum = 0;
  for (const double lane : lanes) {
    sum += lane;
  }
  for (; i < count; ++i) {
    sum += static_cast<double>(std::fabs(values[i]));
  }
  return sum;
}

at::Tensor agreeing_part(const SliceVector& vector, const at::Tensor& unified) {
  if (const std::vector<SliceVector> vectors{vector, SliceVector(unified)}; rules_fit(vectors)) {
    return apply_rule(vectors, {}, AgreeingPart{});
  }
  const at::Tensor values = vector.tensor();
  return unified * at::where(unified > 0, values > 0, values < 0);
}

at::Tensor add_agreeing_part(const at::Tensor& base, const SliceVector& vector, const at::Tensor& unified,
                             double factor) {
  if (const std::vector<SliceVector> vectors{vector, SliceVector(unified), SliceVector(base)};
      rules_fit(vectors)) {
    return apply_rule(vectors, {static_cast<float>(factor), 0, 0}, AddAgreeingPart{});
  }
  return at::add(base, agreeing_part(vector, unified), factor);
}

double l1(const at::Tensor& values) {
  return values.abs().sum(at::kDouble).item<double>();
}

}  // namespace

std::vector<at::Tensor> agreeing_parts(const std::vector<SliceVector>& vectors, const at::Tensor& unified) {
  std::vector<at::Tensor> parts;
  for (const SliceVector& vector : vectors) {
    parts.push_back(agreeing_part(vector, unified));
  }
  return parts;
}

std::vector<at::Tensor> add_agreeing_parts(const at::Tensor& base, const std::vector<SliceVector>& vectors,
                                           const at::Tensor& unified, const std::vector<double>& factors) {
  std::vector<at::Tensor> models;
  for (size_t i = 0; i < vectors.size(); ++i) {
    models.push_back(add_agreeing_part(base, vectors[i], unified, factors[i]));
  }
  return models;
}

std::vector<Magnitudes> agreeing_magnitudes(const std::vector<SliceVector>& vectors,
                                            const at::Tensor& unified) {
  std::vector<Magnitudes> sums(vectors.size());
  if (!all_chunked(vectors)) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      sums[i] = {l1(vectors[i].tensor()), l1(agreeing_part(vectors[i], unified))};
    }
    return sums;
  }
  const at::Tensor contiguous = unified.contiguous();
  const auto* elected = contiguous.const_data_ptr<float>();
  ChunkReader reader(vectors);
  float scratch[ChunkReader::kChunk];
  float part[ChunkReader::kChunk];
  reader.for_each_chunk([&](int64_t begin, int64_t count) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      const float* own = reader.read(i, scratch);
      keep_agreeing(own, elected + begin, count, part);
      sums[i].own += sum_of_magnitudes(own, count);
      sums[i].agreeing += sum_of_magnitudes(part, count);
    }
  });
  return sums;
}

}  // namespace fusegrid
