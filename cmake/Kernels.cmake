# Target fusegrid_kernels: the fused loops for NVIDIA GPUs (src/**/*.cu), where CUDA's compiler is found. It defines
# FUSEGRID_WITH_KERNELS; without it GPUs run the same rules op by op.
add_library(fusegrid_kernels INTERFACE)
set(FUSEGRID_KERNELS "auto" CACHE STRING "kernels for NVIDIA GPUs: auto (if nvcc is found), on, off")
set(FUSEGRID_HAVE_KERNELS OFF)
if(NOT FUSEGRID_KERNELS STREQUAL "off")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80 90)  # machine code, and PTX that newer GPUs compile at start
    endif()
    enable_language(CUDA)
    set(FUSEGRID_HAVE_KERNELS ON)
    add_library(fusegrid_device_kernels STATIC ${PROJECT_SOURCE_DIR}/src/fusion/loops/device_kernels.cu)
    # the runtime beside LibTorch's own would be another context's state: share the driver's, link ours statically
    set_target_properties(fusegrid_device_kernels PROPERTIES
      CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON CUDA_RUNTIME_LIBRARY Static)
    target_include_directories(fusegrid_device_kernels PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_compile_options(fusegrid_device_kernels PRIVATE -fmad=false -Xcompiler=-Wall,-Wextra)  # the CPU's bits
    target_compile_definitions(fusegrid_device_kernels PUBLIC FUSEGRID_WITH_KERNELS)
    target_link_libraries(fusegrid_kernels INTERFACE fusegrid_device_kernels)
  elseif(FUSEGRID_KERNELS STREQUAL "on")
    message(FATAL_ERROR "FUSEGRID_KERNELS=on, but nvcc was not found (put it on PATH or set CUDACXX).")
  endif()
endif()
message(STATUS "GPU kernels: ${FUSEGRID_HAVE_KERNELS}")
