// Marks functions that the CPU's loops and the GPU's kernels (fusion/loops/device_kernels.cu) share.
#pragma once

#ifdef __CUDACC__
#define FUSEGRID_HOST_DEVICE __host__ __device__
#else
#define FUSEGRID_HOST_DEVICE
#endif
