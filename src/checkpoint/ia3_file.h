#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/ia3_config.h"
#include "checkpoint/safetensors.h"

namespace fusegrid {

// The files of a PEFT folder with an (IA)^3 adapter: a vector for each adapted module, which multiplies its outputs
// (stored as [out, 1]) or, in feedforward modules, its inputs ([1, in]).
// Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
// NeurIPS 2022, arXiv:2205.05638.
class Ia3File {
 public:
  struct Vector {
    std::string key;  // in the file
    int64_t length = 0;
    bool of_inputs = false;  // a feedforward module's
  };

  // Throws ConfigError as Ia3Config, where the file is a pickle or has tensors of another kind; DataError where a
  // vector's shape contradicts the configuration, or there is none.
  Ia3File(const std::filesystem::path& path, HfFolderOptions options);

  const Ia3Config& config() const { return config_; }
  const SafetensorsFile& file() const { return file_; }
  const std::map<std::string, Vector>& vectors() const { return vectors_; }     // by module
  const std::map<std::string, std::string>& copies() const { return copies_; }  // tensor held whole -> key
  std::vector<float> read(const Vector& vector) const;

 private:
  SafetensorsFile file_;
  Ia3Config config_;
  std::map<std::string, Vector> vectors_;
  std::map<std::string, std::string> copies_;
};

// What of a module an (IA)^3 vector is called in a file.
inline constexpr const char* kIa3Vector = ".ia3_l";

}  // namespace fusegrid
