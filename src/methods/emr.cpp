// EMR: elect one unified task vector, mask it per task, rescale it per task.
//
// Source:  Huang et al., "EMR-Merging: Tuning-Free High-Performance Model Merging", NeurIPS 2024,
//          arXiv:2405.17461. rescaler=global is the paper's formula (and the authors' 30-task code); per_tensor
//          is their 8-task code and FusionBench: sums over tensors of each tensor's mean |.|.
// Differs: as the authors' code, sign(0) counts as -; a task whose masked vector is all zero is not rescaled.
// Cost:    two passes over N experts. Stored: base, uni, one bit per entry and task, one number per task.

#include "core/text.h"
#include "fusion/passes/agreeing_parts.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::emr {
namespace {

struct Options {
  std::string rescaler = "global";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("rescaler", rescaler, Choices{"global", "per_tensor"}, "how the rescalers average over tensors");
  }
};

// A sum of zero elects -, where nothing is.
at::Tensor elect(const std::vector<SliceVector>& taus) {
  return merge_elected(taus, untrimmed(taus.size()), "max");
}

std::vector<double> rescalers(const FusionInput& in, const Options& options) {
  const size_t experts = in.num_experts();
  const auto sums = in.reduce_per_tensor(2 * experts, [&](const Slice& slice, double* out) {
    const std::vector<SliceVector> taus = slice.task_vector_views();
    const std::vector<Magnitudes> of_experts = agreeing_magnitudes(taus, elect(taus));
    for (size_t i = 0; i < experts; ++i) {
      out[2 * i] = of_experts[i].own;
      out[2 * i + 1] = of_experts[i].agreeing;
    }
  });
  std::vector<double> own(experts, 0.0);
  std::vector<double> unified(experts, 0.0);
  for (size_t tensor = 0; tensor < sums.size(); ++tensor) {
    const double divisor =
        options.rescaler == "global" ? 1 : static_cast<double>(in.tensors()[tensor].numel());
    for (size_t i = 0; i < experts; ++i) {
      own[i] += sums[tensor][2 * i] / divisor;
      unified[i] += sums[tensor][2 * i + 1] / divisor;
    }
  }
  for (size_t i = 0; i < experts; ++i) {
    own[i] = unified[i] > 0 ? own[i] / unified[i] : 1;
  }
  return own;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const std::vector<double> lambda = rescalers(in, options);
  std::vector<Weights> models = in.map_elements(in.num_experts(), [&](const Slice& slice) {
    const std::vector<SliceVector> taus = slice.task_vector_views();
    return add_agreeing_parts(slice.base(), taus, elect(taus), lambda, slice.results);
  });
  std::vector<std::string> texts;
  for (size_t i = 0; i < lambda.size(); ++i) {
    texts.push_back(in.expert_names()[i] + "=" + number_text(lambda[i]));
  }
  const auto elements = static_cast<double>(in.num_elements());
  const auto tasks = static_cast<double>(lambda.size());
  FusedModel fused = models_of_tasks(in, std::move(models), 2 * elements + tasks * (elements / 32 + 1));
  fused.facts["rescalers"] = join(texts, " ");
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "emr",
     .title = "EMR-Merging",
     .paper = "Huang et al., NeurIPS 2024, arXiv:2405.17461",
     .formula = R"(gamma = sign(sum_i tau_i),   uni = gamma * max{ |tau_i| : tau_i gamma > 0 }
M_i = [tau_i uni > 0],   lambda_i = |tau_i|_1 / |M_i uni|_1
theta^(i) = theta_0 + lambda_i M_i uni)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::emr
