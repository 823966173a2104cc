#include "fusion/loops/random_numbers.h"

#include <ATen/ops/empty.h>

#include "core/philox.h"
#include "fusion/engines/stream_device.h"
#include "fusion/loops/device_kernels.h"

namespace fusegrid {

at::Tensor uniform_on(at::Device device, uint64_t key, uint64_t stream, int64_t begin, int64_t count) {
  if constexpr (device_kernels::kCompiled) {
    if (device.is_cuda()) {
      at::Tensor numbers = at::empty({count}, at::TensorOptions(device).dtype(at::kFloat));
      device_kernels::fill_uniform(key, stream, begin, count, numbers.mutable_data_ptr<float>(),
                                   current_stream(numbers.device()).native_handle());
      return numbers;
    }
  }
  return uniform(key, stream, begin, count).to(device);
}

}  // namespace fusegrid
