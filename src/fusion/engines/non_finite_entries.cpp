#include "fusion/engines/non_finite_entries.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

NonFiniteEntries::NonFiniteEntries(const Slice& seen) : slice(seen) {
  std::vector<SliceBlock*> blocks;
  if (slice.base_block.defined()) {
    blocks.push_back(&slice.base_block);
  }
  for (SliceBlock& block : slice.expert_blocks) {
    blocks.push_back(&block);
  }
  at::Tensor sum;
  for (const SliceBlock* block : blocks) {
    const at::Tensor values = block->stored().to(at::kFloat);
    const at::Tensor bad = at::where(values.isfinite(), at::zeros_like(values), values);
    sum = sum.defined() ? sum + bad : bad;
  }
  const at::Tensor places = sum.ne(0);  // NaN too
  if (!places.any().item<bool>()) {
    return;
  }
  marks = sum.reshape({-1});
  for (SliceBlock* block : blocks) {
    *block = SliceBlock(block->stored().masked_fill(places, 0));
  }
  slice.read_factors = {};  // their product has the entries that were taken out
}

at::Tensor NonFiniteEntries::with_marks(const at::Tensor& values, const at::Tensor& marks) {
  const at::Tensor flat = values.reshape({-1});
  return at::where(marks.eq(0), flat, marks);
}

}  // namespace fusegrid
