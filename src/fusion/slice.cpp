#include "fusion/slice.h"

#include <ATen/ops/sub.h>

#include "core/operation_count.h"

namespace fusegrid {

SliceBlock::SliceBlock(at::Tensor stored, at::Tensor buffer)
    : stored_(std::move(stored)), buffer_(std::move(buffer)) {}

const at::Tensor& SliceBlock::stored() const {
  if (!read_) {
    read_ = true;
    count_operations(stored_.numel());
  }
  return stored_;
}

const at::Tensor& SliceBlock::values() const {
  if (!values_.defined()) {
    const at::Tensor& read = stored();
    if (read.scalar_type() == at::kFloat || !buffer_.defined()) {
      values_ = read.to(at::kFloat);
    } else {
      values_ = buffer_.numel() == read.numel() ? buffer_ : buffer_.narrow(0, 0, read.numel());
      values_.copy_(read);
    }
  }
  return values_;
}

namespace {

const SliceBlock& declared(const SliceBlock& base) {
  if (!base.defined()) {
    throw AccessError("the base and task vectors need Need::kPretrained in the method's card");
  }
  return base;
}

}  // namespace

const at::Tensor& Slice::base() const {
  return declared(base_block).values();
}

SliceVector Slice::base_view() const {
  return SliceVector(declared(base_block).stored());
}

std::vector<at::Tensor> Slice::experts() const {
  std::vector<at::Tensor> all;
  for (const SliceBlock& block : expert_blocks) {
    all.push_back(block.values());
  }
  return all;
}

at::Tensor Slice::task_vector(size_t index) const {
  return at::sub(expert(index), base());
}

std::vector<at::Tensor> Slice::task_vectors() const {
  std::vector<at::Tensor> taus;
  for (size_t i = 0; i < num_experts(); ++i) {
    taus.push_back(task_vector(i));
  }
  return taus;
}

std::optional<LowRankFactors> Slice::factors(size_t index) const {
  declared(base_block);
  return read_factors ? read_factors(index) : std::nullopt;
}

std::vector<SliceVector> Slice::expert_views() const {
  std::vector<SliceVector> views;
  for (const SliceBlock& block : expert_blocks) {
    views.emplace_back(block.stored());
  }
  return views;
}

std::vector<SliceVector> Slice::task_vector_views() const {
  const at::Tensor& base = declared(base_block).stored();
  std::vector<SliceVector> views;
  for (const SliceBlock& block : expert_blocks) {
    views.emplace_back(block.stored(), base);
  }
  return views;
}

at::Tensor Slice::of(const Weights& whole) const {
  const at::Tensor& tensor = whole.at(name());
  const bool own_shape = count == tensor.numel() && expert_blocks.front().unread().dim() == tensor.dim();
  return own_shape ? tensor : tensor.view({-1}).narrow(0, begin, count);
}

}  // namespace fusegrid
