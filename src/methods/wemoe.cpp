// WEMoE: task arithmetic everywhere but in the MLPs; each MLP mixes the experts' task vectors by a router per
// input. Source, differences and cost: fusion/whole_model/routed_model.h.

#include "fusion/whole_model/routed_model.h"

namespace fusegrid::methods::wemoe {
namespace {

FusedModel fuse(const FusionInput& in, const RouterOptions& options) {
  return mix_by_routers(in, options, {.method = "wemoe"});
}

const RegisterMethod<RouterOptions> registered{
    router_card(
        "wemoe", "WEMoE", "Tang et al., ICML 2024, arXiv:2402.00433",
        R"(MLPs    W(x) = W_0 + sum_i g_i tau_i  for weights and biases of fc1 and fc2,   g = mean over tokens (causal models: those so far) of router(x_token)
others  theta = theta_0 + scale * sum_i tau_i
router: 0, 1 or 2 layers; its last bias starts at scale, so that training starts at task arithmetic)"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::wemoe
