# Imported targets torch_cpu and c10 from the PyPI wheel (or any LibTorch folder). The wheel's own TorchConfig demands a
# CUDA toolkit and drags in its CUDA half; ours links the CPU half only, so that one program serves machines with and
# without GPUs: an executor that drives a GPU loads libtorch_cuda.so at run time (src/worker/device.cpp).
set(FUSEGRID_TORCH_DIR "" CACHE PATH "the folder 'torch' of the unpacked wheel (holds include/ and lib/)")
if(NOT FUSEGRID_TORCH_DIR)
  if(DEFINED ENV{FUSEGRID_TORCH_DIR})
    set(FUSEGRID_TORCH_DIR $ENV{FUSEGRID_TORCH_DIR} CACHE PATH "" FORCE)
  elseif(EXISTS ${FUSEGRID_CACHE_FOLDER}/torch-2.11.0/torch/lib/libtorch_cpu.so)
    set(FUSEGRID_TORCH_DIR ${FUSEGRID_CACHE_FOLDER}/torch-2.11.0/torch CACHE PATH "" FORCE)
  endif()
endif()
if(NOT EXISTS ${FUSEGRID_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch not found: '${FUSEGRID_TORCH_DIR}' holds no lib/libtorch_cpu.so.\n"
    "Run ./fusegrid setup, or pass -DFUSEGRID_TORCH_DIR=<site-packages>/torch.")
endif()
add_library(c10 SHARED IMPORTED)
set_target_properties(c10 PROPERTIES
  IMPORTED_LOCATION ${FUSEGRID_TORCH_DIR}/lib/libc10.so
  INTERFACE_INCLUDE_DIRECTORIES
    "${FUSEGRID_TORCH_DIR}/include;${FUSEGRID_TORCH_DIR}/include/torch/csrc/api/include")
add_library(torch_cpu SHARED IMPORTED)
set_target_properties(torch_cpu PROPERTIES
  IMPORTED_LOCATION ${FUSEGRID_TORCH_DIR}/lib/libtorch_cpu.so
  INTERFACE_LINK_LIBRARIES c10)
