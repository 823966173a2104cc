#include "fusion/engines/gathering_sink.h"

#include <algorithm>
#include <cstring>

#include <ATen/ops/empty.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kExchangeElements = int64_t{1} << 24;  // of one broadcast: bounds what is under way at once

// Ranges travel as numbers; exact below 2^53.
std::vector<double> packed(const std::vector<StreamRange>& ranges) {
  std::vector<double> numbers;
  for (const StreamRange& range : ranges) {
    for (const auto number : {static_cast<int64_t>(range.tensor), range.begin, range.count}) {
      numbers.push_back(static_cast<double>(number));
    }
  }
  return numbers;
}

std::vector<StreamRange> unpacked(const std::vector<double>& numbers) {
  std::vector<StreamRange> ranges;
  for (size_t i = 0; i + 2 < numbers.size(); i += 3) {
    ranges.push_back({static_cast<size_t>(numbers[i]), static_cast<int64_t>(numbers[i + 1]),
                      static_cast<int64_t>(numbers[i + 2])});
  }
  return ranges;
}

}  // namespace

GatheringSink::GatheringSink(const std::vector<TensorInfo>& tensors, size_t outputs, Collectives& group,
                             at::Device device)
    : tensors_(tensors), group_(group), device_(device), values_(outputs), written_(outputs) {
  for (auto& output : values_) {
    for (const TensorInfo& info : tensors_) {
      FUSEGRID_ASSERT(info.dtype == at::kFloat, info.name);
      output.push_back(at::empty(info.shape, at::TensorOptions(at::kFloat)));
    }
  }
}

void GatheringSink::write(size_t output, size_t, const StreamRange& range, const void* data) {
  std::memcpy(part(output, range).data_ptr(), data, static_cast<size_t>(range.count) * sizeof(float));
  const std::scoped_lock lock(mutex_);
  written_[output].push_back(range);
}

void GatheringSink::finish(size_t output, size_t) {
  const auto mine = sorted_ranges(output);
  const auto all = group_.all_gather(packed(mine));
  for (int root = 0; root < group_.size(); ++root) {
    const auto ranges = unpacked(all[root]);
    for (size_t begin = 0; begin < ranges.size();) {
      size_t end = begin;
      int64_t elements = 0;
      while (end < ranges.size() && (end == begin || elements + ranges[end].count <= kExchangeElements)) {
        elements += ranges[end++].count;
      }
      const auto at = [&](size_t i) { return ranges.begin() + static_cast<ptrdiff_t>(i); };
      exchange(root, {at(begin), at(end)}, output);
      begin = end;
    }
  }
}

// The ranges' values, one behind the other, from `root` to all others.
void GatheringSink::exchange(int root, const std::vector<StreamRange>& ranges, size_t output) {
  int64_t elements = 0;
  for (const StreamRange& range : ranges) {
    elements += range.count;
  }
  at::Tensor buffer = at::empty({elements}, at::TensorOptions(at::kFloat));
  const auto for_parts = [&](const auto& copy) {
    int64_t done = 0;
    for (const StreamRange& range : ranges) {
      copy(part(output, range), buffer.narrow(0, done, range.count));
      done += range.count;
    }
  };
  if (group_.rank() == root) {
    for_parts([](const at::Tensor& value, const at::Tensor& slot) { slot.copy_(value); });
  }
  at::Tensor there = buffer.to(device_);
  group_.broadcast(there, root);
  group_.barrier();  // a root that runs ahead would fill the memory of who passes its messages on
  if (group_.rank() != root) {
    buffer.copy_(there);
    for_parts([](const at::Tensor& value, const at::Tensor& slot) { value.copy_(slot); });
  }
}

std::vector<StreamRange> GatheringSink::sorted_ranges(size_t output) const {
  auto ranges = written_[output];
  std::sort(ranges.begin(), ranges.end(), [](const StreamRange& a, const StreamRange& b) {
    return std::pair(a.tensor, a.begin) < std::pair(b.tensor, b.begin);
  });
  return ranges;
}

at::Tensor GatheringSink::part(size_t output, const StreamRange& range) const {
  return values_[output][range.tensor].view({-1}).narrow(0, range.begin, range.count);
}

Weights GatheringSink::take(size_t output) {
  Weights weights;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    weights.emplace(tensors_[i].name, values_[output][i].to(device_));
    values_[output][i].reset();
  }
  return weights;
}

}  // namespace fusegrid
