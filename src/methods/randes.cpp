// RanDeS: superpose the task vectors after random sign flips of their columns; undoing a task's own flips
// brings its vector back, while the others' become noise that cancels out.
//
// Source:  Zhou et al., "RanDeS: Randomized Delta Superposition for Multi-Model Compression", 2025,
//          arXiv:2505.11204; FusionBench's random_binary_diagonal_matrix, with flips of their own for each
//          tensor.
// Differs: the original superposes the weights of attention and MLP layers by their names; tensors=matrices
//          takes everything with two dimensions or more. The flips are Philox numbers of (seed, task,
//          tensor, column). The original's shuffling of layers is a method of its own, randes_shuffle, since it
//          needs tensors of several layers at once.
// Cost:    one pass over N experts. Stored: base, the superposition, one seed per task.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/random_signs.h"

namespace fusegrid::methods::randes {
namespace {

struct Options {
  std::string tensors = "matrices";
  double scale = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("tensors", tensors, Choices{"matrices", "all"},
            "what is flipped; the other task vectors are just added");
    v.param("scale", scale, Range{-2, 2}, "multiplier of what a task gets back");
  }
};

// +1 or -1 for each entry of the slice, by the column it is in.
at::Tensor flips(const FusionInput& in, const Slice& slice, size_t expert) {
  const at::Tensor signs = column_signs(in, expert, *slice.info);
  const at::Tensor column =
      at::arange(slice.begin, slice.begin + slice.count, at::kLong).remainder(signs.numel());
  return signs.index_select(0, column).to(slice.base().device());
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<Weights> models = in.map_elements(in.num_experts(), [&](const Slice& slice) {
    const auto taus = slice.task_vectors();
    if (options.tensors == "matrices" && slice.info->shape.size() < 2) {
      return std::vector<at::Tensor>(taus.size(), slice.base() + sum_of(taus) * options.scale);
    }
    std::vector<at::Tensor> contexts;
    at::Tensor superposed = at::zeros_like(taus[0]);
    for (size_t i = 0; i < taus.size(); ++i) {
      contexts.push_back(flips(in, slice, i));
      superposed.add_(taus[i] * contexts.back());
    }
    std::vector<at::Tensor> values;
    for (const at::Tensor& context : contexts) {
      values.push_back(slice.base() + superposed * context * options.scale);
    }
    return values;
  });
  const auto stored = 2 * static_cast<double>(in.num_elements()) + static_cast<double>(in.num_experts());
  return models_of_tasks(in, std::move(models), stored);
}

const RegisterMethod<Options> registered{
    {.name = "randes",
     .title = "RanDeS",
     .paper = "Zhou et al., 2025, arXiv:2505.11204",
     .formula = R"(S = sum_j tau_j D_j   per matrix,   D_j diagonal with random entries +1 and -1
theta^(i) = theta_0 + scale * S D_i = theta_0 + scale * (tau_i + sum_{j != i} tau_j D_j D_i))",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .random = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::randes
