// Stochastic weight averaging: the mean of the last checkpoints of one training run.
//
// Source:  Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018,
//          arXiv:1803.05407; with few checkpoints LAWA, Kaddour, "Stop Wasting My Time! Saving Days of ImageNet and
//          BERT Training with Latest Weight Averaging", 2022, arXiv:2209.14981.
// Differs: experts are the checkpoints, in the order of the run; their statistics of batch norm are to be made again by
//          `statistics = re_estimated`, as SWA does.
// Cost:    one pass over the checkpoints.

#include <algorithm>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::swa {
namespace {

struct Options {
  int64_t last = 0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("last", last, Range{0, 1e6}, "checkpoints that are averaged, from the end of the run; 0: all");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto count = static_cast<int64_t>(in.num_experts());
  const int64_t used = options.last == 0 ? count : std::min(options.last, count);
  return one_model(in.map_elements([&](const Slice& slice) {
    const auto views = slice.expert_views();
    return mean_of(std::vector<SliceVector>(views.end() - used, views.end()));
  }));
}

const RegisterMethod<Options> registered{
    {.name = "swa",
     .title = "SWA",
     .paper = "Izmailov et al., UAI 2018, arXiv:1803.05407",
     .formula = "theta = 1/k sum_(i > N - k) theta_i,   experts: checkpoints in the order of the run, k = "
                "last or all",
     .family = Family::kAveraging,
     .order_invariant = false},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::swa
