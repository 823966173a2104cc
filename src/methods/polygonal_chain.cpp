// Polygonal chain: a point of trained lines of low loss between two models.
//
// Source:  Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018,
//          arXiv:1802.10026, section 3; with one bend as there.
// Differs: the learning rate warms up and falls as a cosine; weight decay is the gradient's at the chain's point, as
//          the authors train, on matrices and kernels alone. Batches are a function of seed and step alone.
// Cost:    `steps` forward and backward passes of batch examples per task, once for all t.

#include "fusion/whole_model/curve.h"

namespace fusegrid::methods::polygonal_chain {
namespace {

using Options = PathOptions<CurveTraining>;

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(point_of_curve(in, CurveShape::kPolygonalChain, options.training, options.t));
}

const RegisterMethod<Options> registered{
    path_card("polygonal_chain", "Polygonal chain", "Garipov et al., NeurIPS 2018, arXiv:1802.10026",
              R"(theta(t) = sum_k max(0, 1 - |n t - k|) w_k,   n = bends + 1, w_0 = theta_1, w_n = theta_2
w_1, ..., w_bends minimise the mean over t of the loss of theta(t) + weight_decay / 2 |theta(t)|^2)"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::polygonal_chain
