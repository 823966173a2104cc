#include "zoo/map_batches.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "core/philox.h"

namespace fusegrid {

at::Tensor mirrored_map(const at::Tensor& maps, const std::string& kind) {
  const at::Tensor mirrored = maps.flip(-1);
  if (kind != "normals") {
    return mirrored;
  }
  const at::Tensor sign = at::tensor({-1, 1, 1}, maps.options()).view({3, 1, 1});
  return mirrored * sign;  // what looked to the right looks to the left
}

MapBatches::MapBatches(const TaskInfo& task, const Split& train, int64_t batch, uint64_t seed,
                       const Network& network)
    : network_(network),
      kind_(task.kind),
      images_(train.images.to(network.device)),
      maps_(train.maps.to(network.device)),
      order_(images_.size(0), batch, derive_key(seed, "fine_tune/order/" + task.name)),
      mirror_key_(derive_key(seed, "fine_tune/mirror/" + task.name)) {}

Examples MapBatches::at(int64_t step) {
  const at::Tensor chosen = sent(order_.next(), network_.device);
  Examples batch{.inputs = {images_.index_select(0, chosen), {}, {}}, .maps = maps_.index_select(0, chosen)};
  if (philox(mirror_key_, static_cast<uint64_t>(step), 0)[0] % 2 == 1) {
    batch.inputs.images = batch.inputs.images.flip(-1);
    batch.maps = mirrored_map(batch.maps, kind_);
  }
  batch.inputs = network_.ready(batch.inputs);
  return batch;
}

}  // namespace fusegrid
