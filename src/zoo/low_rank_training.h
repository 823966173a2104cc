#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/low_rank_factors.h"
#include "models/architecture.h"
#include "zoo/recipe.h"
#include "zoo/training.h"

namespace fusegrid {

// Low-rank adapters that are trained beside a frozen model: layers compute x W^T + b + scale (x A^T) B^T.
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv:2106.09685.
class TrainedFactors {
 public:
  // Of the layers whose names end with one of `targets` behind a dot. A is normal of variance 1 / in, B zero, so that
  // the model begins as the base; `key` alone chooses the numbers.
  TrainedFactors(const Architecture& architecture, const std::vector<std::string>& targets, int64_t rank,
                 double scale, uint64_t key, at::Device device);
  Pass pass() const;                        // with the layers adapted; must not outlive this object
  std::vector<at::Tensor> trained() const;  // leaves, in order of name
  FactorsByName factors() const;            // as they are now, without what gradients need

 private:
  FactorsByName factors_;
};

constexpr double kAdapterScale = 2;  // alpha / r, as recipes of experts on published layouts have it

// Of the numbers that an adapter begins with: its own, so that no two experts of a seed share them.
uint64_t adapter_key(const ModelInput& in);

struct AdapterTuning {
  std::vector<std::string> targets;  // ends of the names of layers
  int64_t rank = 0;
  double scale = 1;
  uint64_t key = 0;       // of their first values
  std::string task_type;  // as PEFT calls it; may be empty
};
// Trains such factors on the tasks, beside the frozen base.
MadeModel train_adapter(const AdapterTuning& adapter, const ModelInput& in,
                        const std::vector<TrainedTask>& tasks, const Schedule& schedule);

}  // namespace fusegrid
