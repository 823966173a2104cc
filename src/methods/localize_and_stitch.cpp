// Dataless Localize-and-Stitch: add the largest entries of each task vector, and where several have one their mean.
//
// Source:  He et al., "Localize-and-Stitch: Efficient Model Merging via Sparse Task Arithmetic", TMLR 2025,
//          arXiv:2408.13656, its dataless variant, and the authors' code: kept is what is larger than the int(d
//          density)-th largest magnitude of a task vector.
// Differs: density = 1 keeps everything.
// Cost:    two passes over N experts and a sample (GPUs: three).

#include <algorithm>

#include <ATen/TensorOperators.h>

#include "fusion/fusion_input.h"
#include "fusion/passes/stitching.h"

namespace fusegrid::methods::localize_and_stitch {
namespace {

struct Options {
  double density = 0.1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0, 1}, "fraction of the entries of a task vector that are kept");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const int64_t all = in.num_elements();
  const auto kept = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(all) * options.density));
  const std::vector<float> thresholds =
      kept == all ? std::vector<float>(in.num_experts(), -1) : in.kth_magnitude(all - kept + 1);
  return one_model(in.map_elements([&](const Slice& slice) {
    const std::vector<at::Tensor> taus = slice.task_vectors();
    std::vector<at::Tensor> masks;
    for (size_t i = 0; i < taus.size(); ++i) {
      masks.push_back((taus[i].abs() > thresholds[i]).to(at::kFloat));
    }
    return slice.base() + stitched(taus, masks);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "localize_and_stitch",
     .title = "Dataless Localize-and-Stitch",
     .paper = "He et al., TMLR 2025, arXiv:2408.13656",
     .formula = R"(m_i = [|tau_i| among the density largest of the model]
theta = theta_0 + sum_i m_i tau_i / max(1, sum_i m_i))",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::localize_and_stitch
