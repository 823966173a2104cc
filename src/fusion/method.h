#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/params.h"
#include "core/registry.h"
#include "fusion/fused_model.h"
#include "fusion/slice.h"

namespace fusegrid {

class FusionInput;

enum class Family {
  kReference,
  kAveraging,
  kTaskVector,
  kStatistics,
  kAlignment,
  kTestTime,
  kSubspace,
  kEnsemble,
  kRouting,
  kExternal  // made outside of this program: external_row.h
};

// What a method must be handed. Asking FusionInput for more than the card declares throws AccessError: that
// is what makes the leaderboard's "data used" column true.
enum class Need {
  kPretrained,          // the base weights
  kMultitask,           // the zoo's multi-task model (reference row only)
  kTrainInputs,         // unlabelled training inputs
  kTrainLabels,         // their labels
  kGradients,           // backward passes through the model
  kTestInputs,          // unlabelled *test* inputs (transductive)
  kValidationInputs,    // unlabelled validation inputs
  kValidationExamples,  // the validation split with its labels, beyond choosing parameters
  kClassesSeen,         // which classes of a task each expert was trained on
};

// What a method asks of the models and tasks that it serves, besides data. A grid is refused before it runs where the
// zoo has not got it.
enum class Demand {
  kBlocks,             // the architecture is a stack of blocks with MLPs
  kLayers,             // affine layers whose inputs can be looked at
  kAxisGroups,         // the architecture says which axes can be permuted alike
  kFreeWidths,         // these axes may get longer: no heads of attention and no layer norms lie along them
  kRunningStatistics,  // of batch norm
  kRepairable,         // layers with biases and no norms
  kDistribution,       // the outputs of all tasks are distributions
  kClasses,            // the tasks are ones of classes
  kHeads,              // the outputs come from heads outside the models, which models can share
  kAffineHeads,        // these heads are affine
  kHeadInside,         // they come from one of classes inside the models
};

enum class Yields { kOneModel, kModelPerTask, kEnsemble, kRoutedModel };

// The largest part of the models that a method looks at once. Element and tensor grain run through any engine
// (in memory, streamed from files, sharded over ranks) with the same bits; whole-model methods, which run
// forward passes or hold entire weights, only where all models are in memory.
enum class Grain { kElements, kTensors, kWholeModel };

// Rough cost of the fusion itself, for ordering work before anything was measured.
enum class Cost { kElementwise, kMatrix, kForwardPasses, kTraining };

struct MethodCard {
  std::string name;   // = file stem = key everywhere
  std::string title;  // name in tables: "Task Arithmetic"
  std::string paper;  // "Ilharco et al., ICLR 2023, arXiv:2212.04089"
  std::string
      formula;  // plain text, lines; symbols as in docs/methods.md: theta_0 base, theta_i experts, tau_i
  Family family = Family::kAveraging;
  Grain grain = Grain::kElements;
  std::set<Need> needs = {};
  std::set<Demand> demands = {};
  Yields yields = Yields::kOneModel;
  bool needs_task_identity = false;  // at inference
  bool random = false;               // the seed changes the result
  bool order_invariant = true;       // up to rounding, the order of the experts does not matter
  // Parameters whose values are rows of their own on a board, not settings to choose among.
  std::set<std::string> told_apart = {};
  Cost cost = Cost::kElementwise;
  // Of Cost::kTraining, the models' worth of memory that it takes beside its result: gradients, and task vectors of the
  // largest tensors.
  int64_t training_models = 3;
  int64_t min_experts = 1;  // 0: a reference row, which reads none
  int64_t max_experts = 1 << 20;
};

struct Method {
  MethodCard card;
  std::function<FusedModel(const FusionInput&, const ParamText&)> fuse;
  // All parameters written out, and those of every method that are not at their defaults.
  std::function<std::string(const ParamText&)> canonical;
  std::function<std::vector<ParamInfo>()> params;  // defaults, ranges, documents
  std::function<void(const ParamText&, const MethodCard&, int64_t experts)>
      check;                                                  // ConfigError before work begins
  std::function<std::set<Demand>(const ParamText&)> demands;  // the card's and those of the parameters
  std::function<std::set<Need>(const ParamText&)> needs;      // the card's, as the parameters change them
  // Whether a parameter's value makes a row of its own: it is told_apart, changes which data the method sees, or is one
  // of every method.
  bool is_row(const std::string& parameter, const std::string& value) const;
  // Of a method theta = theta_0 + scale * direction, its direction (a Field whose lambda refers to the input),
  // so that another method can go on from it; else empty.
  std::function<Field(const FusionInput&, const ParamText&)> direction;

  // With the needs of a call. `card` is that of a call without parameters.
  MethodCard card_of(const ParamText& parameters) const;
};

Registry<Method>& method_registry();

// The method with the parameters that every method takes besides its own: fusion/common_parameters.h.
Method with_common_parameters(Method method);

std::string to_string(Family family);
std::string to_string(Grain grain);
std::string to_string(Need need);
std::string to_string(Demand demand);
std::string to_string(Yields yields);

// Registers a method: `const RegisterMethod<Options> registered{{.name = ...}, fuse};` in its file's unnamed
// namespace. Options declares its parameters by `template <typename V> void describe(V& v)`; a method whose
// parameters constrain each other also has `void check(int64_t experts) const`, which throws ConfigError; one whose
// parameters ask for more than the card says has `std::set<Demand> demands() const`, and one whose parameters say which
// data it sees has `std::set<Need> needs(std::set<Need> of_card) const`.
// `direction`: see Method; RegisterDirection (passes/direction.h) supplies it together with `fuse`.
template <typename Options>
struct RegisterMethod {
  using Fuse = std::function<FusedModel(const FusionInput&, const Options&)>;
  using Direction = std::function<Field(const FusionInput&, const Options&)>;

  RegisterMethod(const MethodCard& card, const Fuse& fuse, const Direction& direction = {}) {
    const auto read = [name = card.name](const ParamText& text) {
      Options options;
      ParamReader reader("method '" + name + "'", text);
      options.describe(reader);
      reader.expect_all_read();
      return options;
    };
    const auto list = [](Options options) {
      ParamLister lister;
      options.describe(lister);
      return lister;
    };
    method_registry().add(
        card.name,
        with_common_parameters(
            {.card = card,
             .fuse = [=](const FusionInput& in, const ParamText& text) { return fuse(in, read(text)); },
             .canonical = [=](const ParamText& text) { return list(read(text)).canonical(); },
             .params = [=] { return list(Options{}).params(); },
             .check =
                 [=](const ParamText& text, const MethodCard&, int64_t experts) {
                   [[maybe_unused]] const Options options = read(text);
                   if constexpr (requires { options.check(experts); }) {
                     options.check(experts);
                   }
                 },
             .demands =
                 [=](const ParamText& text) {
                   std::set<Demand> demands = card.demands;
                   if constexpr (requires(const Options& options) { options.demands(); }) {
                     demands.merge(read(text).demands());
                   }
                   return demands;
                 },
             .needs =
                 [=](const ParamText& text) {
                   if constexpr (requires(const Options& options) { options.needs(card.needs); }) {
                     return read(text).needs(card.needs);
                   } else {
                     return card.needs;
                   }
                 },
             .direction = !direction ? std::function<Field(const FusionInput&, const ParamText&)>{}
                                     : [=](const FusionInput& in,
                                           const ParamText& text) { return direction(in, read(text)); }}));
  }
};

// For methods without parameters.
struct NoOptions {
  template <typename Visitor>
  void describe(Visitor&) {}
};

}  // namespace fusegrid
