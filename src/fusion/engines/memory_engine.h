#pragma once

#include "fusion/engine.h"

namespace fusegrid {

class StatisticsCache;

// All models are in memory: the grid's engine. Fields are evaluated once, whole, and kept in the cache.
class MemoryEngine final : public Engine {
 public:
  // The models must have equal layouts (load_model checks that) and outlive the engine. `base` may be empty for
  // methods that do not need it; without experts as well there are no tensors. models_key: identifies base and
  // experts in `cache`. tick: called per slice. factors: of the experts, where some are adapters.
  MemoryEngine(const Weights& base, std::vector<const Weights*> experts, std::string models_key,
               StatisticsCache& cache, std::function<void()> tick,
               std::vector<const FactorsByName*> factors = {});

  size_t num_experts() const override { return experts_.size(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  at::Device device() const override { return device_; }
  void for_each_slice(const Visit& visit) override;
  void for_each_sample(const Visit& visit) override;
  void for_each_tensor(const Visit& visit) override;
  std::vector<Weights> map_slices(size_t outputs, const Fuse& fuse) override;
  std::vector<Weights> map_tensors(size_t outputs, const Fuse& fuse) override;
  std::vector<std::vector<double>> reduce_per_tensor(
      size_t width, const std::function<void(const Slice&, double* out)>& value) override;
  void sum_over_ranks(std::vector<int64_t>&) override {}  // one rank

 private:
  using Cut = std::function<at::Tensor(const at::Tensor&)>;
  void show(size_t index, int64_t begin, int64_t count, const Cut& cut, const Visit& visit);
  void show_part(size_t index, int64_t begin, int64_t count, const Visit& visit);
  at::Tensor field_value(const Slice& slice, const Field& field);
  // What is never merged: integer tensors, of the base or the first expert, and the experts' mean of running
  // statistics.
  Weights untouched() const;

  const Weights& base_;
  std::vector<const Weights*> experts_;
  std::vector<const FactorsByName*> factors_;  // [experts] or none
  std::string models_key_;
  StatisticsCache& cache_;
  std::function<void()> tick_;
  std::vector<TensorInfo> tensors_;
  std::vector<int64_t> global_begin_;
  at::Device device_ = at::kCPU;
};

}  // namespace fusegrid
