// Methods that tell tests what they were given.
#pragma once

#include <limits>
#include <stdexcept>

#include <ATen/TensorOperators.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/adaptation.h"

namespace fusegrid {

inline int spy_fuses = 0;           // calls of all of them
inline bool spy_must_fail = false;  // throw instead

inline FusedModel spy(const FusionInput& in, Weights weights) {
  ++spy_fuses;
  if (spy_must_fail) {
    throw std::runtime_error("the spy was told to fail");
  }
  FusedModel fused = one_model(std::move(weights));
  fused.facts["experts"] = number_text(static_cast<int64_t>(in.num_experts()));
  return fused;
}

struct SpyOptions {
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(const std::set<Need>& of_card) const { return needs_of_inputs(inputs, of_card); }
};

inline void register_spies() {
  static const bool once = [] {
    const auto blind = [](const FusionInput& in, const NoOptions&) { return spy(in, in.expert(0)); };
    const auto seeing = [](const FusionInput& in, const SpyOptions&) {
      FusedModel fused = spy(in, in.expert(0));
      fused.facts["seen"] =
          number_text(in.inputs_to_adapt_on(in.tasks()[0]).images.to(at::kDouble).mean().item<double>());
      return fused;
    };
    const auto broken = [](const FusionInput& in, const NoOptions&) {
      Weights weights = in.expert(0);
      for (auto& [name, tensor] : weights) {
        tensor = tensor * std::numeric_limits<float>::quiet_NaN();
      }
      return spy(in, std::move(weights));
    };
    const RegisterMethod<NoOptions> first{
        {.name = "spy", .title = "", .paper = "", .formula = "", .grain = Grain::kWholeModel}, blind};
    const RegisterMethod<SpyOptions> second{{.name = "spy_on_test_inputs",
                                             .title = "",
                                             .paper = "",
                                             .formula = "",
                                             .grain = Grain::kWholeModel,
                                             .needs = {Need::kTestInputs}},
                                            seeing};
    const RegisterMethod<NoOptions> third{
        {.name = "spy_not_finite", .title = "", .paper = "", .formula = "", .grain = Grain::kWholeModel},
        broken};
    return true;
  }();
  (void)once;
}

}  // namespace fusegrid
