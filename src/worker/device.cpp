#include "worker/device.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include "core/errors.h"
#include "core/text.h"
#include "models/precision.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

struct Gpu {
  std::string model, uuid;
};

// The value of "Name : value" or "Name: value" in a file of /proc; "" where it is missing.
std::string proc_value(const fs::path& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos && trim(line.substr(0, colon)) == name) {
      return trim(line.substr(colon + 1));
    }
  }
  return "";
}

// In the order of bus addresses, which is the driver's under CUDA_DEVICE_ORDER=PCI_BUS_ID.
std::vector<Gpu> gpus_of_host(const fs::path& proc) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(proc / "driver/nvidia/gpus", none)) {
    folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  std::vector<Gpu> gpus;
  for (const auto& folder : folders) {
    gpus.push_back(
        {proc_value(folder / "information", "Model"), proc_value(folder / "information", "GPU UUID")});
  }
  return gpus;
}

// The names by which this process may use GPUs: CUDA_VISIBLE_DEVICES up to its first entry that names none,
// as the driver reads it, or else all numbers.
std::vector<std::string> visible_names(const HostDevices& host, size_t gpus) {
  std::vector<std::string> names;
  if (!host.visible) {
    for (size_t i = 0; i < gpus; ++i) {
      names.push_back(std::to_string(i));
    }
    return names;
  }
  for (const std::string& entry : split(*host.visible, ',')) {
    const std::string name = trim(entry);
    if (name.empty() || name.starts_with('-') || name == "NoDevFiles") {
      break;
    }
    names.push_back(name);
  }
  return names;
}

std::string model_of(const std::string& name, const std::vector<Gpu>& gpus) {
  for (size_t i = 0; i < gpus.size(); ++i) {
    const bool by_uuid = name.starts_with("GPU-") && gpus[i].uuid.starts_with(name);
    if (by_uuid || name == std::to_string(i)) {
      return gpus[i].model;
    }
  }
  return "unknown model";
}

DeviceChoice cpu_choice(const fs::path& proc) {
  const std::string model = proc_value(proc / "cpuinfo", "model name");
  const std::string shown = model.empty() ? "unknown model" : model;
  return {"cpu", "", "cpu, " + shown, shown + ", " + at::get_cpu_capability()};
}

fs::path torch_library_folder() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != std::string::npos && line.ends_with("/libtorch_cpu.so")) {
      return fs::path(line.substr(path)).parent_path();
    }
  }
  throw DeviceError("cannot find libtorch_cpu.so among the libraries of this process");
}

}  // namespace

HostDevices HostDevices::here() {
  HostDevices host;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    host.visible = visible;
  }
  host.gpus_bound_per_rank = std::getenv("SLURM_GPUS_PER_TASK") != nullptr;
  return host;
}

DeviceChoice choose_device(const std::string& setting, int index, int workers, const HostDevices& host) {
  if (setting == "cpu") {
    return cpu_choice(host.proc);
  }
  if (setting != "auto" && setting != "cuda") {
    throw ConfigError("the device must be auto, cpu or cuda, but it is '" + setting + "'");
  }
  const auto gpus = gpus_of_host(host.proc);
  const auto names = visible_names(host, gpus.size());
  if (names.empty() && setting == "cuda") {
    throw DeviceError("device cuda was asked for, but no GPU is visible" +
                      (host.visible ? " (CUDA_VISIBLE_DEVICES='" + *host.visible + "')" : std::string()) +
                      ". Run where there are GPUs, or with --device cpu");
  }
  if (names.empty()) {
    return cpu_choice(host.proc);
  }
  const int mine = host.gpus_bound_per_rank ? 0 : index;
  if (mine >= static_cast<int>(names.size())) {
    throw DeviceError("each worker drives one GPU, but the host has " + std::to_string(workers) +
                      " workers and " + std::to_string(names.size()) +
                      " visible GPUs. Start fewer ranks (the coordinator, rank 0, needs no GPU), or use "
                      "--device cpu");
  }
  const std::string model = model_of(names[mine], gpus);
  return {"cuda:0", names[mine], "gpu " + names[mine] + ", " + model, model};
}

void load_cuda() {
  const fs::path library = torch_library_folder() / "libtorch_cuda.so";
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    throw DeviceError("cannot load " + library.string() + ": " + (reason ? reason : "no reason given") +
                      ". Install LibTorch with CUDA and its NVIDIA libraries beside it, or use --device cpu");
  }
  if (!at::hasCUDA()) {
    throw DeviceError(
        "LibTorch was loaded with CUDA but finds no usable GPU: the driver may be missing or too "
        "old for it. See nvidia-smi, or use --device cpu");
  }
  try {
    at::zeros({1}, at::TensorOptions(at::kCUDA))
        .item<float>();  // a context: now it shows whether the GPU works
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    throw DeviceError("the GPU cannot be used: " + text.substr(0, text.find('\n')) +
                      ". See nvidia-smi, or use --device cpu");
  }
  use_fp32();
}

at::Device open_device(const DeviceChoice& choice) {
  if (choice.device == "cpu") {
    return at::kCPU;
  }
  ::setenv("CUDA_VISIBLE_DEVICES", choice.visible_gpus.c_str(), 1);
  load_cuda();
  return {at::kCUDA, 0};
}

}  // namespace fusegrid
