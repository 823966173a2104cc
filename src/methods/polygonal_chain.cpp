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

struct Options {
  double t = 0.5;
  CurveTraining training{.shape = CurveShape::kPolygonalChain};

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "position on the chain: 0 is the first expert, 1 the second");
    v.param("bends", training.bends, Range{1, 20}, "trained points between the experts");
    v.param("steps", training.steps, Range{0, 1e7}, "steps of training");
    v.param("batch", training.batch, Range{1, 65536}, "labelled training examples of each task in a step");
    v.param("lr", training.lr, Range{0, 100}, "highest learning rate");
    v.param("weight_decay", training.weight_decay, Range{0, 1}, "of the matrices of the chain's points");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(point_of_curve(in, options.training, options.t));
}

const RegisterMethod<Options> registered{
    {.name = "polygonal_chain",
     .title = "Polygonal chain",
     .paper = "Garipov et al., NeurIPS 2018, arXiv:1802.10026",
     .formula = R"(theta(t) = sum_k max(0, 1 - |n t - k|) w_k,   n = bends + 1, w_0 = theta_1, w_n = theta_2
w_1, ..., w_bends minimise the mean over t of the loss of theta(t) + weight_decay / 2 |theta(t)|^2)",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .random = true,
     .order_invariant = false,
     .cost = Cost::kTraining,
     .min_experts = 2,
     .max_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::polygonal_chain
