#include "fusion/engines/memory_engine.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include "core/role.h"
#include "fusion/whole_model/batch_statistics.h"
#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid {
namespace {

// The tensor as float32, or a copy, unless a method made it and kept nothing of it.
at::Tensor owned(const at::Tensor& tensor) {
  const bool is_ours_alone = tensor.scalar_type() == at::kFloat && tensor.is_contiguous() &&
                             tensor.use_count() == 1 && tensor.storage().use_count() == 1 &&
                             tensor.storage().nbytes() == static_cast<size_t>(tensor.numel()) * sizeof(float);
  return is_ours_alone ? tensor : tensor.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
}

// For a whole tensor. Of large ones the system is asked for large pages: it clears small ones one by one, which takes a
// third of a pass that writes a model for each task.
at::Tensor new_tensor(const std::vector<int64_t>& shape, at::Device device) {
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  at::Tensor tensor = at::empty(shape, at::TensorOptions(device).dtype(at::kFloat));
  if (device.is_cpu() && tensor.nbytes() >= 2 * kPage) {
    const auto begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
    const uintptr_t end = (begin + tensor.nbytes()) / kPage * kPage;
    ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // refused, the tensor is no worse
  }
  return tensor;
}

}  // namespace

MemoryEngine::MemoryEngine(const Weights& base, std::vector<const Weights*> experts, std::string models_key,
                           StatisticsCache& cache, std::function<void()> tick,
                           std::vector<const FactorsByName*> factors)
    : base_(base),
      experts_(std::move(experts)),
      factors_(std::move(factors)),
      models_key_(std::move(models_key)),
      cache_(cache),
      tick_(std::move(tick)) {
  static const Weights no_factors;
  const Weights& layout = !base_.empty() ? base_ : experts_.empty() ? no_factors : *experts_.front();
  int64_t elements = 0;
  for (auto& info : tensor_infos(layout)) {
    if (info.floating() && !is_running_statistic(info)) {
      device_ = layout.at(info.name).device();
      global_begin_.push_back(elements);
      elements += info.numel();
      tensors_.push_back(std::move(info));
    }
  }
}

void MemoryEngine::show(size_t index, int64_t begin, int64_t count, const Cut& cut, const Visit& visit) {
  const TensorInfo& info = tensors_[index];
  Slice slice;
  slice.info = &info;
  slice.tensor_index = index;
  slice.begin = begin;
  slice.global_begin = global_begin_[index] + begin;
  slice.count = count;
  if (!base_.empty()) {
    slice.base_block = SliceBlock(cut(base_.at(info.name)));
  }
  for (const Weights* expert : experts_) {
    slice.expert_blocks.emplace_back(cut(expert->at(info.name)));
  }
  slice.field_value = [this](const Slice& s, const Field& field) { return field_value(s, field); };
  if (!factors_.empty()) {
    slice.read_factors = [this, &info](size_t expert) -> std::optional<LowRankFactors> {
      const auto found = factors_[expert]->find(info.name);
      return found == factors_[expert]->end() ? std::nullopt : std::optional(found->second);
    };
  }
  visit(slice);
  tick_();
}

void MemoryEngine::show_part(size_t index, int64_t begin, int64_t count, const Visit& visit) {
  const auto cut = [=](const at::Tensor& tensor) { return tensor.view({-1}).narrow(0, begin, count); };
  show(index, begin, count, cut, visit);
}

void MemoryEngine::for_each_slice(const Visit& visit) {
  const int64_t most = slice_elements(device_);
  for (size_t index = 0; index < tensors_.size(); ++index) {
    const int64_t elements = tensors_[index].numel();
    for (int64_t begin = 0; begin < elements; begin += most) {
      show_part(index, begin, std::min(most, elements - begin), visit);
    }
  }
}

void MemoryEngine::for_each_sample(const Visit& visit) {
  const int64_t stride = sample_stride(num_elements());
  if (stride == 1) {
    for_each_slice(visit);
    return;
  }
  for (size_t index = 0; index < tensors_.size(); ++index) {
    for (const auto& [begin, count] : sampled_runs(global_begin_[index], tensors_[index].numel(), stride)) {
      show_part(index, begin - global_begin_[index], count, visit);
    }
  }
}

void MemoryEngine::for_each_tensor(const Visit& visit) {
  for (size_t index = 0; index < tensors_.size(); ++index) {
    show(
        index, 0, tensors_[index].numel(), [](const at::Tensor& tensor) { return tensor; }, visit);
  }
}

std::vector<Weights> MemoryEngine::map_slices(size_t outputs, const Fuse& fuse) {
  std::vector<Weights> models(outputs, untouched());
  for (const TensorInfo& info : tensors_) {
    if (info.numel() == 0) {  // of which there are no slices
      for (Weights& model : models) {
        model[info.name] = new_tensor(info.shape, device_);
      }
    }
  }
  const auto results_of = [&](const Slice& slice) {
    auto values = fuse(slice);
    FUSEGRID_ASSERT(values.size() == outputs, "a slice has " + std::to_string(values.size()) + " results");
    return values;
  };
  const auto map_whole = [&](const Slice& slice) {
    const auto values = results_of(slice);
    for (size_t i = 0; i < outputs; ++i) {
      models[i][slice.name()] = owned(values[i]).view(slice.info->shape);
    }
  };
  const auto map_part = [&](Slice slice) {
    for (Weights& model : models) {
      at::Tensor& whole = model[slice.name()];
      if (slice.begin == 0) {
        whole = new_tensor(slice.info->shape, device_);
      }
      slice.results.push_back(whole.view({-1}).narrow(0, slice.begin, slice.count));
    }
    const auto values = results_of(slice);
    for (size_t i = 0; i < outputs; ++i) {
      if (values[i].const_data_ptr() != slice.results[i].const_data_ptr()) {
        slice.results[i].copy_(values[i]);
      }
    }
  };
  for_each_slice(
      [&](const Slice& slice) { slice.count == slice.info->numel() ? map_whole(slice) : map_part(slice); });
  return models;
}

std::vector<Weights> MemoryEngine::map_tensors(size_t outputs, const Fuse& fuse) {
  std::vector<Weights> models(outputs, untouched());
  for_each_tensor([&](const Slice& slice) {
    const auto values = fuse(slice);
    FUSEGRID_ASSERT(values.size() == outputs, "a tensor has " + std::to_string(values.size()) + " results");
    for (size_t i = 0; i < outputs; ++i) {
      models[i][slice.name()] = values[i].to(at::kFloat).contiguous();
    }
  });
  return models;
}

std::vector<std::vector<double>> MemoryEngine::reduce_per_tensor(
    size_t width, const std::function<void(const Slice&, double* out)>& value) {
  std::vector<std::vector<double>> sums(tensors_.size(), std::vector<double>(width, 0.0));
  std::vector<double> block(width);
  for_each_slice([&](const Slice& slice) {
    std::fill(block.begin(), block.end(), 0.0);
    value(slice, block.data());
    for (size_t i = 0; i < width; ++i) {
      sums[slice.tensor_index][i] += block[i];
    }
  });
  return sums;
}

at::Tensor MemoryEngine::field_value(const Slice& slice, const Field& field) {
  FUSEGRID_ASSERT(!field.whole_tensors || slice.count == slice.info->numel(),
                  "a field of whole tensors is read in a pass of blocks: " + field.key);
  const auto whole = cache_.get(models_key_ + "/" + field.key, StatisticsCache::Keep::kMemory, [&] {
    const Fuse value = [&](const Slice& s) { return std::vector<at::Tensor>{field.value(s)}; };
    return (field.whole_tensors ? map_tensors(1, value) : map_slices(1, value)).front();
  });
  return slice.of(*whole);
}

Weights MemoryEngine::untouched() const {
  Weights kept;
  const Weights& layout = base_.empty() ? *experts_.front() : base_;
  for (const TensorInfo& info : tensor_infos(layout)) {
    if (is_running_statistic(info) && !experts_.empty()) {
      kept.emplace(info.name, mean_statistic(experts_, info.name).to(at::kFloat));
    } else if (is_running_statistic(info) || !info.floating()) {
      kept.emplace(info.name, layout.at(info.name));
    }
  }
  return kept;
}

}  // namespace fusegrid
