// BitDelta: store each expert as the signs of its task vector and one number per matrix.
//
// Source:  Liu et al., "BitDelta: Your Fine-Tune May Only Be Worth One Bit", NeurIPS 2024,
//          arXiv:2402.10193, without its distillation of the numbers on data: they stay at their start, the
//          mean |tau|, which is the least-squares choice. A zero counts as +.
// Differs: the original quantises the linear layers of the transformer blocks; a streamed merge knows
//          shapes but no architecture, so tensors=matrices takes everything with two dimensions or more
//          (embeddings too).
// Cost:    two passes over N experts. Stored: base, one bit per quantised entry and task, the rest of each
//          expert.

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include "fusion/passes/direction.h"

namespace fusegrid::methods::bitdelta {
namespace {

struct Options {
  std::string tensors = "matrices";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("tensors", tensors, Choices{"matrices", "all"},
            "what is quantised; the rest is the expert's own");
  }
  bool quantises(const TensorInfo& info) const { return tensors == "all" || info.shape.size() > 1; }
};

double stored_parameters(const FusionInput& in, const Options& options) {
  double shared = 0;
  double per_task = 0;
  for (const TensorInfo& info : in.tensors()) {
    const auto size = static_cast<double>(info.numel());
    const bool quantised = options.quantises(info);
    shared += quantised ? size : 0;
    per_task += quantised ? size / 32 + 1 : size;
  }
  return shared + per_task * static_cast<double>(in.num_experts());
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const size_t experts = in.num_experts();
  const auto sums = in.reduce_per_tensor(experts, [&](const Slice& slice, double* out) {
    for (size_t i = 0; i < experts; ++i) {
      out[i] = slice.task_vector(i).abs().sum(at::kDouble).item<double>();
    }
  });
  std::vector<Weights> models = in.map_elements(experts, [&](const Slice& slice) {
    if (!options.quantises(*slice.info)) {
      return slice.experts();
    }
    std::vector<at::Tensor> values;
    for (size_t i = 0; i < experts; ++i) {
      const double size = sums[slice.tensor_index][i] / static_cast<double>(slice.info->numel());
      values.push_back(slice.base() + at::where(slice.task_vector(i) < 0, -size, size));
    }
    return values;
  });
  return models_of_tasks(in, std::move(models), stored_parameters(in, options));
}

const RegisterMethod<Options> registered{
    {.name = "bitdelta",
     .title = "BitDelta",
     .paper = "Liu et al., NeurIPS 2024, arXiv:2402.10193",
     .formula =
         "theta^(i) = theta_0 + a_i sign(tau_i),   a_i = mean |tau_i| of each matrix; other tensors: theta_i",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::bitdelta
