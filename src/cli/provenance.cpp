#include "cli/provenance.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <ATen/Version.h>
#include <boost/version.hpp>
#include <torch/version.h>
#include <unistd.h>

#include "cli/build_facts.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// First value of `key` in files made of "key : value" lines, such as those of /proc; "" where there is none.
std::string proc_value(const std::filesystem::path& file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const auto colon = line.find(':');
    if (colon != std::string::npos && trim(line.substr(0, colon)) == key) {
      return trim(line.substr(colon + 1));
    }
  }
  return "";
}

// The GPUs of this host as the driver lists them; read from /proc, since a coordinator never starts CUDA.
nlohmann::json gpus() {
  auto found = nlohmann::json::array();
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    const auto information = entry.path() / "information";
    found.push_back({{"bus", entry.path().filename().string()},
                     {"model", proc_value(information, "Model")},
                     {"uuid", proc_value(information, "GPU UUID")}});
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::string boost_version() {
  return number_text(int64_t{BOOST_VERSION / 100000}) + "." +
         number_text(int64_t{BOOST_VERSION / 100 % 1000}) + "." + number_text(int64_t{BOOST_VERSION % 100});
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

nlohmann::json environment_subset(const char* const* environment) {
  auto subset = nlohmann::json::object();
  for (; *environment != nullptr; ++environment) {
    const std::string entry = *environment;
    const auto equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    const auto begins = [&](const char* prefix) { return name.rfind(prefix, 0) == 0; };
    const auto ends = [&](const char* suffix) { return ends_with(name, suffix); };
    const std::array prefixes = {"NCCL_", "OMPI_", "CUDA_", "SLURM_", "FUSEGRID_"};
    const std::array secrets = {"_KEY", "_TOKEN", "_COOKIE", "_SECRET", "_PASSWORD"};
    if (equals != std::string::npos && std::any_of(prefixes.begin(), prefixes.end(), begins) &&
        std::none_of(secrets.begin(), secrets.end(), ends)) {
      subset[name] = entry.substr(equals + 1);
    }
  }
  return subset;
}

nlohmann::json launch_provenance(const std::vector<std::string>& argv, const Transport& transport) {
  const BuildFacts& facts = build_facts();
  return {{"argv", argv},
          {"started", utc_now()},
          {"git", facts.revision + (facts.dirty ? "-dirty" : "")},
          {"program",
           {{"version", facts.version},
            {"build_type", facts.build_type},
            {"architecture", facts.architecture},
            {"compiler", facts.compiler}}},
          {"libraries",
           {{"torch", TORCH_VERSION},
            {"hdf5", facts.hdf5},
            {"mpi", facts.mpi},
            {"nccl", facts.nccl},
            {"boost", boost_version()}}},
          {"host",
           {{"name", transport.host()},
            {"cpu", proc_value("/proc/cpuinfo", "model name")},
            {"cpu_capability", at::get_cpu_capability()},
            {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
            {"gpus", gpus()}}},
          {"ranks", transport.size()},
          {"environment", environment_subset(environ)},
          {"numeric_mode", "fp32"}};
}

std::string version_text() {
  const BuildFacts& facts = build_facts();
  return "fusegrid " + facts.version + " (git " + facts.revision + (facts.dirty ? ", modified" : "") + ")\n" +
         "LibTorch " + TORCH_VERSION + ", HDF5 " + facts.hdf5 + ", " + facts.mpi + ", NCCL " + facts.nccl +
         ", Boost " + boost_version() + "\n" + facts.compiler + ", " + facts.build_type +
         (facts.architecture.empty() ? "" : ", " + facts.architecture) + ", CPU capability " +
         at::get_cpu_capability() + "\n";
}

}  // namespace fusegrid
