// Models whose MLPs are mixed by routers, and the training of the routers: what WEMoE and its relatives share.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/adaptation.h"
#include "fusion/whole_model/routed_mlp.h"

namespace fusegrid {

struct RouterOptions {
  double scale = 0.3;
  int64_t layers = 2;
  double lr = 1e-4;
  int64_t steps = 1000;
  int64_t batch = 16;
  bool batch_reduce = false;
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "task arithmetic outside the MLPs and initial gate inside");
    v.param("layers", layers, Range{0, 2},
            "layers of each router (0: gates that do not depend on the input)");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    v.param("batch_reduce", batch_reduce, "average the gates over the batch, as FusionBench's code does");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// What a relative of WEMoE changes.
struct RoutedMlps {
  std::string method;              // whose error messages these are
  double density = 1;              // of a tensor's task vector the fraction of largest entries that stay
  bool has_shared_router = false;  // one router answers for all blocks
  // Each of so many leading singular triplets of a weight's task vector has a gate of its own, and biases those of task
  // arithmetic; 0: a task vector has one gate.
  int64_t rank = 0;
};

// Task arithmetic everywhere but in the MLPs; each MLP mixes the experts' task vectors by a router, which is trained on
// the inputs to adapt on. Needs: Need::kPretrained, inputs to adapt on, kGradients; Demand::kBlocks, kDistribution.
//
// Source:  Tang et al., "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts", ICML 2024,
//          arXiv:2402.00433.
// Differs: gates are those of each input by default; batch_reduce=true averages them over the evaluation batch as
//          FusionBench's code does, and then a prediction depends on the other inputs of its batch. The products
//          x W(x)^T are summed expert by expert, without building W(x). In a causal model a token's gates are the mean
//          over it and the tokens in front of it, so that they neither see nor change with what is behind it.
// Cost:    `steps` forward and backward passes of batch inputs per task; inference computes every MLP N + 1 times.
FusedModel mix_by_routers(const FusionInput& in, const RouterOptions& options, const RoutedMlps& mlps);

// What the cards of such methods have in common.
MethodCard router_card(const std::string& name, const std::string& title, const std::string& paper,
                       const std::string& formula);

}  // namespace fusegrid
