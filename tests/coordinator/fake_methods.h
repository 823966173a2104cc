// Methods of tests/coordinator: cards of every kind, without an implementation.
#pragma once

#include <string>
#include <vector>

#include "core/errors.h"
#include "fusion/method.h"

namespace fusegrid {

struct FakeOptions {
  double scale = 0.3;
  double density = 0.2;
  std::string merge = "sum";
  std::vector<double> weights;
  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0, 1}, "share that is kept");
    v.param("scale", scale, Range{0, 2}, "multiplier");
    v.param("merge", merge, Choices{"sum", "mean"}, "how");
    v.param("weights", weights, Range{0, 10}, "of the experts");
  }
  void check(int64_t experts) const {
    if (!weights.empty() && static_cast<int64_t>(weights.size()) != experts) {
      throw ConfigError("'weights' must have one number for each of the " + std::to_string(experts) +
                        " experts, but it has " + std::to_string(weights.size()));
    }
  }
};

struct FakePeekOptions {
  std::string inputs = "test";
  double scale = 0.3;
  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("inputs", inputs, Choices{"test", "validation"}, "to adapt on");
    v.param("scale", scale, Range{0, 2}, "multiplier");
  }
  std::set<Need> needs(const std::set<Need>& of_card) const {
    return inputs == "test" ? of_card : std::set<Need>{Need::kValidationInputs};
  }
};

// Registers them once; call it first in every test program that expands jobs.
inline void register_fake_methods() {
  static const bool once = [] {
    const auto no_fuse = [](const FusionInput&, const auto&) -> FusedModel { throw ConfigError("a fake"); };
    const RegisterMethod<FakeOptions> trim{{.name = "fake_trim", .title = "Trim", .paper = "", .formula = ""},
                                           no_fuse};
    const RegisterMethod<NoOptions> average{
        {.name = "fake_average", .title = "Average", .paper = "", .formula = ""}, no_fuse};
    const RegisterMethod<NoOptions> pair{{.name = "fake_pair",
                                          .title = "Pair",
                                          .paper = "",
                                          .formula = "",
                                          .min_experts = 2,
                                          .max_experts = 2},
                                         no_fuse};
    const RegisterMethod<NoOptions> multitask{{.name = "fake_multitask",
                                               .title = "Multi-task",
                                               .paper = "",
                                               .formula = "",
                                               .needs = {Need::kMultitask}},
                                              no_fuse};
    const RegisterMethod<NoOptions> train{
        {.name = "fake_train", .title = "Train", .paper = "", .formula = "", .needs = {Need::kTrainInputs}},
        no_fuse};
    const RegisterMethod<NoOptions> adapt{
        {.name = "fake_adapt", .title = "Adapt", .paper = "", .formula = "", .needs = {Need::kTestInputs}},
        no_fuse};
    const RegisterMethod<FakePeekOptions> peek{
        {.name = "fake_peek", .title = "Peek", .paper = "", .formula = "", .needs = {Need::kTestInputs}},
        no_fuse};
    const RegisterMethod<NoOptions> seen{
        {.name = "fake_seen", .title = "Seen", .paper = "", .formula = "", .needs = {Need::kClassesSeen}},
        no_fuse};
    const RegisterMethod<NoOptions> routed{
        {.name = "fake_routed", .title = "Routed", .paper = "", .formula = "", .demands = {Demand::kBlocks}},
        no_fuse};
    const RegisterMethod<NoOptions> classes{{.name = "fake_classes",
                                             .title = "Classes",
                                             .paper = "",
                                             .formula = "",
                                             .demands = {Demand::kClasses}},
                                            no_fuse};
    const RegisterMethod<NoOptions> oracle{
        {.name = "fake_oracle", .title = "Oracle", .paper = "", .formula = "", .needs_task_identity = true},
        no_fuse};
    const RegisterMethod<NoOptions> ensemble{{.name = "fake_ensemble",
                                              .title = "Ensemble",
                                              .paper = "",
                                              .formula = "",
                                              .yields = Yields::kEnsemble},
                                             no_fuse};
    return true;
  }();
  (void)once;
}

}  // namespace fusegrid
