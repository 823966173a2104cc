#include "fusion/passes/agreeing_parts.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include "fusion/loops/entry_loops.h"

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

at::Tensor l1(const at::Tensor& values) {
  return values.abs().sum(at::kDouble);
}

}  // namespace

std::vector<at::Tensor> agreeing_parts(const std::vector<SliceVector>& vectors, const at::Tensor& unified) {
  if (rules_fit(vectors) && rules_fit({SliceVector(unified)})) {
    return apply_rule_to_each(vectors, {unified}, {}, AgreeingPart{});
  }
  std::vector<at::Tensor> parts;
  for (const at::Tensor& values : tensors_of(vectors)) {
    parts.push_back(unified * at::where(unified > 0, values > 0, values < 0));
  }
  return parts;
}

std::vector<at::Tensor> add_agreeing_parts(const at::Tensor& base, const std::vector<SliceVector>& vectors,
                                           const at::Tensor& unified, const std::vector<double>& factors,
                                           const std::vector<at::Tensor>& results) {
  if (rules_fit(vectors) && rules_fit(views({unified, base}))) {
    return apply_rule_to_each(vectors, {unified, base}, {factors.begin(), factors.end()}, AddAgreeingPart{},
                              results);
  }
  std::vector<at::Tensor> models = agreeing_parts(vectors, unified);
  for (size_t i = 0; i < models.size(); ++i) {
    models[i] = at::add(base, models[i], factors[i]);
  }
  return models;
}

std::vector<Magnitudes> agreeing_magnitudes(const std::vector<SliceVector>& vectors,
                                            const at::Tensor& unified) {
  std::vector<Magnitudes> sums(vectors.size());
  if (!all_chunked(vectors)) {
    const std::vector<at::Tensor> parts = agreeing_parts(vectors, unified);
    std::vector<at::Tensor> norms;
    for (size_t i = 0; i < vectors.size(); ++i) {
      norms.insert(norms.end(), {l1(vectors[i].tensor()), l1(parts[i])});
    }
    const at::Tensor host = at::stack(norms).cpu();  // waits once for all
    for (size_t i = 0; i < vectors.size(); ++i) {
      sums[i] = {host.const_data_ptr<double>()[2 * i], host.const_data_ptr<double>()[2 * i + 1]};
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
