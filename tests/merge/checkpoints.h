// Checkpoints on disk whose tensors span several blocks, and merges of them by ranks that are threads.
#pragma once

#include <algorithm>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include "checkpoint/hf_folder.h"
#include "core/philox.h"
#include "merge/merge.h"
#include "support/temporary_folder.h"
#include "support/test_zoo.h"

namespace fusegrid {

inline Weights random_model(uint64_t key, double spread) {
  std::map<std::string, std::vector<int64_t>> shapes{{"bias", {17}},    {"embed.weight", {700, 500}},
                                                     {"empty", {0, 4}}, {"head.weight", {300, 512}},
                                                     {"norm", {65536}}, {"scalar", {}}};
  for (int layer = 0; layer < 10; ++layer) {  // more files, where they are small, than are made side by side
    shapes["layers." + std::to_string(layer) + ".weight"] = {8, 25};
  }
  Weights weights;
  uint64_t stream = 0;
  for (const auto& [name, shape] : shapes) {
    const at::Tensor values = at::empty(shape, at::kFloat);
    weights[name] = normal(key, stream++, 0, values.numel()).view(shape) * spread;
  }
  weights["position_ids"] = at::arange(5, at::kLong).view({1, 5});
  return weights;
}

inline Weights converted(const Weights& weights, at::ScalarType dtype) {
  Weights other;
  for (const auto& [name, tensor] : weights) {
    other[name] = tensor.is_floating_point() ? tensor.to(dtype) : tensor;
  }
  return other;
}

// A base and `experts` experts around it, as files of `dtype` and, exactly the same numbers, in memory as float32.
struct Checkpoints {
  Checkpoints(size_t experts, at::ScalarType dtype) {
    Weights base = random_model(1, 0.02);
    add("base", base, dtype);
    for (size_t i = 0; i < experts; ++i) {
      const std::string name = "expert" + std::to_string(i);
      Weights expert = random_model(100 + i, 3e-3);
      for (auto& [tensor, values] : expert) {
        values = values.is_floating_point() ? base.at(tensor) + values : values + static_cast<int64_t>(i);
      }
      add(name, expert, dtype);
      zoo.tasks.push_back(name);
      zoo.experts.push_back(converted(converted(expert, dtype), at::kFloat));
    }
    zoo.base = converted(converted(base, dtype), at::kFloat);
    zoo.seed = 3;
  }

  void add(const std::string& name, const Weights& weights, at::ScalarType dtype) {
    save_hf_folder(folder / name, converted(weights, dtype),
                   {{"model_type", "test"}, {"torch_dtype", "float32"}}, {{"tokenizer.json", "{}"}});
  }

  MergeSpec spec(const std::vector<std::string>& calls, const std::string& out = "out") const {
    MergeSpec spec;
    spec.base = folder / "base";
    for (const std::string& task : zoo.tasks) {
      spec.experts.push_back({task, folder / task});
    }
    for (const std::string& call : calls) {
      auto [name, parameters] = parse_call(call);
      spec.methods.push_back({name, parameters});
    }
    spec.out = folder / out;
    spec.seed = zoo.seed;
    spec.shard_bytes = 1 << 19;  // several files
    return spec;
  }

  TemporaryFolder folder;
  TestZoo zoo;  // no network, no data
};

// Runs `work` on ranks that are threads; rethrows the error of rank 0 (others must end as well).
inline void on_ranks(int ranks, const std::function<void(Collectives&)>& work) {
  auto groups = thread_collectives(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        work(*groups[rank]);
      } catch (...) {
        errors[rank] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& error : errors) {
    EXPECT_EQ(error != nullptr, errors.front() != nullptr) << "some ranks failed and others did not";
  }
  if (errors.front()) {
    std::rethrow_exception(errors.front());
  }
}

using Progress = std::function<void(double)>;

// Merges on `ranks` ranks; the report of rank 0.
inline MergeReport merge(
    const MergeSpec& spec, int ranks, const Progress& progress = [](double) {}) {
  MergeReport report;
  on_ranks(ranks, [&](Collectives& group) {
    const MergePlan plan = plan_merge(spec);
    const MergeReport mine = run_merge(plan, group, {{"argv", "a test"}}, progress);
    if (group.rank() == 0) {
      report = mine;
    }
  });
  return report;
}

inline std::string folder_digest(const std::filesystem::path& folder) {
  return HfFolder(folder).digest();
}

}  // namespace fusegrid
