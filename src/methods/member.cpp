// Member: one of the experts, by its place. What merges and ensembles of models of one task are compared with.
//
// Source:  the baseline of every paper on ensembles and alignment.
// Cost:    none.

#include <string>

#include "core/errors.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::member {
namespace {

struct Options {
  int64_t index = 0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("index", index, Range{0, 1e6}, "which of the experts, from 0");
  }
  void check(int64_t experts) const {
    if (index >= experts) {
      throw ConfigError("method 'member' needs an index below the number of experts, " +
                        std::to_string(experts) + ", but it is " + std::to_string(index));
    }
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  FusedModel model = one_model(in.expert(static_cast<size_t>(options.index)));
  model.facts["member"] = in.expert_names()[static_cast<size_t>(options.index)];
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "member",
     .title = "Member",
     .paper = "baseline",
     .formula = "theta = theta_(index + 1)",
     .family = Family::kReference,
     .grain = Grain::kWholeModel,
     .order_invariant = false,
     .told_apart = {"index"}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::member
