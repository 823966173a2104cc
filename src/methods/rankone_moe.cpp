// RankOne-MoE: WEMoE whose experts are the leading singular triplets of the task vectors, each with a gate of its own.
//
// Source:  Yang, "RankOne-MoE", github.com/EnnengYang/RankOne-MoE, as FusionBench has it.
// Differs: as WEMoE (fusion/whole_model/routed_model.h): gates are those of each input by default, and routers of two
//          layers are as wide as the model. Singular triplets that are rounding (subspaces/svd.h) are left out, and an
//          expert has no more gates than its matrices can have triplets. All rank-one experts are mixed, which is the
//          original's default: its choice among them is left out.
// Cost:    the SVDs that all subspace methods share, and `steps` forward and backward passes of batch inputs per task;
//          inference adds two products of rank N * rank to each layer of an MLP.

#include "fusion/whole_model/routed_model.h"

namespace fusegrid::methods::rankone_moe {
namespace {

struct Options : RouterOptions {
  int64_t rank = 32;

  Options() { layers = 1; }
  template <typename Visitor>
  void describe(Visitor& v) {
    RouterOptions::describe(v);
    v.param("rank", rank, Range{1, 1e6}, "rank-one experts of each expert in a layer");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return mix_by_routers(in, options, {.method = "rankone_moe", .rank = options.rank});
}

const RegisterMethod<Options> registered{
    router_card(
        "rankone_moe", "RankOne-MoE", "Yang, github.com/EnnengYang/RankOne-MoE",
        R"(MLPs    W(x) = W_0 + sum_i sum_(r <= rank) g_ir s_ir u_ir v_ir^T   for the weights of fc1 and fc2,   tau_i = U_i S_i V_i^T
        g = mean over tokens (causal models: those so far) of router(x_token), the same gates for both
others  theta = theta_0 + scale * sum_i tau_i, the biases of fc1 and fc2 too
router: its last bias starts at scale, so that training starts at task arithmetic of rank `rank`)"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::rankone_moe
