// LiNeS: scale a merged task vector linearly with depth, least in the first block, whose features all tasks share, and
// most in the last one.
//
// Source:  Wang et al., "LiNeS: Post-training Layer Scaling Prevents Forgetting and Enhances Model Merging", ICLR 2025,
//          arXiv:2410.17146. As in the authors' code tensors outside the blocks have the first block's factor, and for
//          several experts that factor comes from the norms. For one expert set alpha and beta = 1 - alpha.
// Differs: a block is known by the first number in the tensor's name and counted within its own stack, so that two
//          towers do not mix (the authors search the name for ".0.", ".1.", ...). The method before it runs with its
//          own defaults.
// Cost:    that of the method before it and a pass for the norms; a sweep of alpha and beta shares all of it.

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>

#include "core/block_name.h"
#include "core/text.h"
#include "fusion/passes/direction.h"

namespace fusegrid::methods::lines {
namespace {

struct Options {
  std::string base = "task_arithmetic";
  double alpha = -1;
  double beta = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("base", base, Choices{"task_arithmetic", "ties", "tsv_m", "iso_c"},
            "the method whose merged task vector is scaled");
    v.param("alpha", alpha, Range{-1, 3},
            "factor of the first block and outside the blocks; below 0: |sum_i tau_i| / (N |tau|)");
    v.param("beta", beta, Range{-3, 3}, "what the last block's factor has beyond the first one's");
  }
};

// Place of each tensor's block in its stack, from 0 (first block, and outside of blocks) to 1 (last).
std::vector<double> depths(const std::vector<TensorInfo>& tensors) {
  std::map<std::string, int64_t> last;
  for (const TensorInfo& info : tensors) {
    const BlockName block = block_name(info.name);
    last[block.stack] = std::max(last[block.stack], block.block);
  }
  std::vector<double> depths;
  for (const TensorInfo& info : tensors) {
    const BlockName block = block_name(info.name);
    const int64_t end = last[block.stack];
    depths.push_back(end == 0 ? 0 : static_cast<double>(block.block) / static_cast<double>(end));
  }
  return depths;
}

double norm_ratio(const FusionInput& in, const Field& direction) {
  const Field sum = in.task_vector_sum();
  const auto squares = [&](const Slice& slice, double* out) {
    out[0] = slice[sum].to(at::kDouble).square().sum().item<double>();
    out[1] = slice[direction].to(at::kDouble).square().sum().item<double>();
  };
  const auto of_tensors =
      direction.whole_tensors ? in.reduce_tensors(2, squares) : in.reduce_per_tensor(2, squares);
  double whole = 0;
  double merged = 0;
  for (const auto& of_tensor : of_tensors) {
    whole += of_tensor[0];
    merged += of_tensor[1];
  }
  return merged > 0 ? std::sqrt(whole / merged) : 1;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Field direction = method_registry().at(options.base).direction(in, {});
  double alpha = options.alpha;
  if (alpha < 0) {
    const auto ratio =
        in.scalars("lines/" + direction.key, [&] { return std::vector<double>{norm_ratio(in, direction)}; });
    alpha = ratio[0] / static_cast<double>(in.num_experts());
  }
  const std::vector<double> depth = depths(in.tensors());
  const auto moved = [&](const Slice& slice) {
    const at::Tensor step = slice[direction];
    return at::add(slice.base(), step, alpha + options.beta * depth[slice.tensor_index]);
  };
  FusedModel fused = one_model(direction.whole_tensors ? in.map_tensors(moved) : in.map_elements(moved));
  fused.facts["alpha"] = number_text(alpha);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "lines",
     .title = "LiNeS",
     .paper = "Wang et al., ICLR 2025, arXiv:2410.17146",
     .formula = R"(tau = direction of the base method
block l of L   theta = theta_0 + (alpha + beta (l - 1) / (L - 1)) tau
others         theta = theta_0 + alpha tau
alpha < 0      alpha = |sum_i tau_i| / (N |tau|),   norms over the whole model)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::lines
