// tests/golden/peft_merges.json: what PEFT makes of adapters whose numbers follow a formula.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_writer.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {

inline nlohmann::json peft_golden() {
  return nlohmann::json::parse(read_text(source_folder() / "tests/golden/peft_merges.json"));
}

// The formula of make_peft_merges.py.
inline at::Tensor peft_numbers(int64_t seed, const std::vector<int64_t>& shape) {
  at::Tensor values = at::empty(shape, at::TensorOptions(at::kFloat));
  auto* const to = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const int64_t number = (i * i * i * 271 + i * 48271 + seed * 104729 + 12345) % 20011;
    to[i] = static_cast<float>(static_cast<double>(number) / 10005.5 - 1);
  }
  return values;
}

inline void write_adapter(const std::filesystem::path& folder, const Weights& tensors,
                          const nlohmann::json& config) {
  std::filesystem::create_directories(folder);
  write_safetensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  write_text(folder / "adapter_config.json", config.dump());
}

// The tensors of an adapter in the order of make_peft_merges.py, as key and shape, filled with its numbers.
inline Weights peft_adapter(int64_t seed,
                            const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  Weights adapter;
  for (const auto& [key, shape] : tensors) {
    adapter.emplace("base_model.model." + key,
                    peft_numbers(100 * seed + static_cast<int64_t>(adapter.size()), shape));
  }
  return adapter;
}

inline void expect_numbers(const at::Tensor& actual, const nlohmann::json& expected, double tolerance,
                           const std::string& what) {
  const auto numbers = expected.get<std::vector<double>>();
  ASSERT_EQ(actual.numel(), static_cast<int64_t>(numbers.size())) << what;
  const at::Tensor flat = actual.to(at::kDouble).contiguous().view({-1});
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_NEAR(flat.const_data_ptr<double>()[i], numbers[i], tolerance) << what << " " << i;
  }
}

}  // namespace fusegrid
