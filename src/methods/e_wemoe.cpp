// E-WEMoE: WEMoE of task vectors that keep their largest entries alone, with one router for all blocks.
//
// Source:  Shen et al., "Efficient and Effective Weight-Ensembling Mixture of Experts for Multi-Task Model Merging",
//          2024, arXiv:2410.21804.
// Differs: as WEMoE (fusion/whole_model/routed_model.h); of entries that equal the quantile exactly as many stay as
//          without ties.
// Cost:    that of WEMoE: the pruned task vectors are stored sparse, but multiplied dense.

#include "fusion/whole_model/routed_model.h"

namespace fusegrid::methods::e_wemoe {
namespace {

struct Options : RouterOptions {
  double density = 0.1;

  template <typename Visitor>
  void describe(Visitor& v) {
    RouterOptions::describe(v);
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries of an MLP tensor's task vector that are kept");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return mix_by_routers(in, options,
                        {.method = "e_wemoe", .density = options.density, .has_shared_router = true});
}

const RegisterMethod<Options> registered{
    router_card(
        "e_wemoe", "E-WEMoE", "Shen et al., 2024, arXiv:2410.21804",
        R"(MLPs    W(x) = W_0 + sum_i g_i tau^_i   for weights and biases of fc1 and fc2,   tau^_i the density largest entries of tau_i
        g = mean over tokens (causal models: those so far) of router(x_token), the same router in all blocks
others  theta = theta_0 + scale * sum_i tau_i)"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::e_wemoe
