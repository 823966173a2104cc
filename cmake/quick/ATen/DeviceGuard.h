#pragma once

// Stands in for LibTorch's header of this name, which every operator's header includes without using it: its
// device_of() functions, which we do not call, need ATen/core/IListRef.h, and that costs each file a second of template
// instantiation even when it is precompiled. What needs a list of tensors as at::cat() does includes IListRef.h itself.
#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
