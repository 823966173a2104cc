#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fusion/slice.h"

namespace fusegrid {

// Runs a method's passes over the base and the experts. Implementations differ in where the models are (in
// memory, streamed from files, sharded over a group), never in the bits of the results: arithmetic is per
// element, or per fixed block of slice_elements(device()) elements summed in block order. A pass must not be
// asked for from inside a pass (AccessError): compute what it needs before.
class Engine {
 public:
  using Visit = std::function<void(const Slice&)>;
  virtual ~Engine() = default;

  virtual size_t num_experts() const = 0;
  // Those that are merged: floating ones, sorted by name. Of models in memory, running statistics of batch norm
  // (Role::kRunningStatistic) are none of them: the experts' mean stands in each result.
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  int64_t num_elements() const;  // of all of them
  virtual at::Device device() const = 0;

  // Calls `visit` once for each of this rank's blocks; those of one tensor in their order.
  virtual void for_each_slice(const Visit& visit) = 0;
  // Calls `visit` for this rank's share of a sample: see below. Engines on CPUs only.
  virtual void for_each_sample(const Visit& visit) = 0;
  // Calls `visit` once for each of this rank's whole tensors.
  virtual void for_each_tensor(const Visit& visit) = 0;

  // The merged models from per-slice results: `fuse` returns one tensor per output model, shaped like the
  // slice. An engine that writes them elsewhere returns tensors without data (device kMeta).
  using Fuse = std::function<std::vector<at::Tensor>(const Slice&)>;
  virtual std::vector<Weights> map_slices(size_t outputs, const Fuse& fuse) = 0;
  // The same from whole tensors.
  virtual std::vector<Weights> map_tensors(size_t outputs, const Fuse& fuse) = 0;

  // Sums `width` numbers per tensor over the blocks, in block order, exactly the same on every rank:
  // [tensors][width].
  virtual std::vector<std::vector<double>> reduce_per_tensor(
      size_t width, const std::function<void(const Slice&, double* out)>& value) = 0;
  // Element-wise sum over ranks of integer counters.
  virtual void sum_over_ranks(std::vector<int64_t>& counters) = 0;
};

// A sample of a model: one run of elements in sample_stride(), wherever tensors and blocks begin, so that it is the
// same for any number of ranks and every part of the model has its share. Runs, for the sake of disks.
constexpr int64_t kSampledElements = int64_t{1} << 18;  // at least; all of a smaller model
constexpr int64_t kSampleRun = int64_t{1} << 12;
constexpr int64_t kMostSampleStride = 64;
// By the number of elements of the model; 1: the sample is all of it.
int64_t sample_stride(int64_t elements);
// What of the model's elements [begin, begin + count) is in the sample: first elements and counts.
std::vector<std::pair<int64_t, int64_t>> sampled_runs(int64_t begin, int64_t count, int64_t stride);

}  // namespace fusegrid
