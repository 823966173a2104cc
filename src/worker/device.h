#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <c10/core/Device.h>

#include "core/parallel.h"

namespace fusegrid {

// What a worker's executor computes on.
struct DeviceChoice {
  std::string device = "cpu";  // for ExecutorContext: "cpu" or "cuda:0"
  std::string visible_gpus;    // CUDA_VISIBLE_DEVICES of the executor: its one GPU, or ""
  std::string description;     // provenance: "cpu, <model>" or "gpu 3, <model>"
  // "<model>, AVX2" or "<model>": devices of one kind give the same bits, others need not, as LibTorch and its
  // libraries choose their code by it.
  std::string kind;
};

// What a host tells of its devices; tests make their own.
struct HostDevices {
  std::optional<std::string> visible;  // inherited CUDA_VISIBLE_DEVICES
  bool gpus_bound_per_rank = false;    // the launcher (srun --gpus-per-task) gave each rank GPUs of its own
  std::filesystem::path proc = "/proc";

  static HostDevices here();
};

// Chooses the device of worker `index` of the `workers` on this host. `setting` is "cpu" (never looks at
// GPUs), "cuda", or "auto" (a GPU where the host has any). Worker k drives the k-th visible GPU. Throws
// DeviceError where cuda is asked for and there is none, or where workers outnumber the GPUs, ConfigError on
// another setting. Does not touch the driver: a process that is going to fork must not.
DeviceChoice choose_device(const std::string& setting, int index, int workers, const HostDevices& host);

// How a user gives a rank more of the cores that usable_cores() counts.
inline constexpr const char* kMoreCores = "give mpirun --bind-to none (or srun more --cpus-per-task)";

// Loads the CUDA half of LibTorch, found beside its CPU half, into this process, and uses its first visible GPU once.
// Call it before anything asks LibTorch for CUDA. Throws DeviceError where it cannot be loaded, finds no GPU, or the
// GPU does not work.
void load_cuda();

// The chosen device, opened in this process, which must not have asked LibTorch for CUDA before.
at::Device open_device(const DeviceChoice& choice);

}  // namespace fusegrid
