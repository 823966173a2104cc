// Gossip: AdaMerging without a centre. The experts sit on a ring; in each round every node merges what it and its two
// neighbours hold, by coefficients that it learns on unlabelled inputs.
//
// Source:  FusionBench's layer-wise and task-wise gossip (Tang et al., 2024, arXiv:2406.03280), which has no paper of
//          its own; coefficients as in Yang et al., "AdaMerging", ICLR 2024, arXiv:2310.02575.
// Differs: the result is the mean of the nodes' models, where the original returns them all and their mean. Nodes are
//          merged as coefficients of the experts' task vectors, which says the same: all models are base plus such a
//          sum. The ring is in the order of the experts' names, so that the order in which they are given is no matter;
//          where two nodes are neighbours on both sides, they count once. `init` is the sum of a round's first
//          coefficients, 0.9 for the original's 0.3 each, so that it means the same on rings of one and two nodes. A
//          node without tasks of its own or of its neighbours keeps the first coefficients.
// Cost:    N * rounds * steps times a forward and a backward pass of batch inputs of each task that a node knows: those
//          of three nodes in the first round, of all N from round N / 2 on.

#include <algorithm>
#include <numeric>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::gossip {
namespace {

struct Options {
  double init = 0.9;
  double lr = 1e-3;
  int64_t rounds = 20;
  int64_t steps = 400;
  int64_t batch = 16;
  std::string coefficients = "layer_wise";
  std::string data = "spreading";
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("init", init, Range{-2, 2},
            "sum of the coefficients that a node's round starts from, which are equal");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("rounds", rounds, Range{0, 1e6}, "rounds, in each of which all nodes merge");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam of each node in a round");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    v.param("coefficients", coefficients, Choices{"task_wise", "layer_wise"},
            "whether a neighbour has one coefficient, or one for each tensor");
    v.param("data", data, Choices{"spreading", "own"},
            "whose inputs a node sees: in round t those of the nodes t places away or nearer, or its own");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// The experts by their places on the ring.
std::vector<size_t> ring_of(const FusionInput& in) {
  std::vector<size_t> ring(in.num_experts());
  std::iota(ring.begin(), ring.end(), size_t{0});
  const auto& names = in.expert_names();
  std::sort(ring.begin(), ring.end(), [&](size_t a, size_t b) { return names[a] < names[b]; });
  return ring;
}

// The places that are `reach` places away or nearer, each once and in order.
std::set<size_t> places_near(size_t place, size_t reach, size_t nodes) {
  std::set<size_t> near;
  for (size_t away = 0; away <= std::min(reach, nodes); ++away) {
    near.insert((place + away) % nodes);
    near.insert((place + nodes - away % nodes) % nodes);
  }
  return near;
}

class Ring {
 public:
  Ring(const FusionInput& in, const Options& options)
      : in_(in),
        options_(options),
        merged_(in, options.coefficients == "task_wise" ? Granularity::kTask : Granularity::kTensor, false),
        ring_(ring_of(in)) {
    for (const size_t expert : ring_) {
      at::Tensor own = merged_.coefficients(0);
      own.select(0, static_cast<int64_t>(expert)).fill_(1);
      nodes_.push_back(own);
    }
    for (const std::string& task : in.tasks()) {  // one for each, so that a node can see those that it knows
      streams_.emplace(task, AdaptationStream(in, std::vector<std::string>{task}, options.batch, "gossip"));
    }
  }

  void talk(int64_t round) {
    std::vector<at::Tensor> next;
    for (size_t place = 0; place < nodes_.size(); ++place) {
      next.push_back(merged_with_neighbours(place, round));
    }
    nodes_ = std::move(next);
  }
  at::Tensor mean() const { return at::stack(nodes_).mean(0); }
  Weights model(const at::Tensor& lambdas) { return merged_.merged(lambdas); }

 private:
  at::Tensor merged_with_neighbours(size_t place, int64_t round) {
    std::vector<at::Tensor> held;
    for (const size_t neighbour : places_near(place, 1, nodes_.size())) {
      held.push_back(nodes_[neighbour]);
    }
    const at::Tensor models = at::stack(held);  // [neighbours, experts, columns]
    const auto count = static_cast<double>(held.size());
    at::Tensor shares = at::full({models.size(0), models.size(2)}, options_.init / count, models.options());
    const auto mixed = [&] { return (shares.unsqueeze(1) * models).sum(0); };
    const std::set<std::string> tasks = tasks_known(place, round);
    Adam adam(shares, options_.lr);
    // where no expert moved, or the node has nothing to look at, nothing can be learnt
    for (int64_t step = 0; step < options_.steps && !merged_.moving().empty() && !tasks.empty(); ++step) {
      const at::Tensor lambdas = mixed();
      merged_.merge(lambdas);
      for (const std::string& task : tasks) {
        backward_of_entropy(in_, merged_.weights(), streams_.at(task));
      }
      adam.step((merged_.gradient(lambdas).unsqueeze(0) * models).sum(1));
      in_.tick();
    }
    return mixed();
  }

  std::set<std::string> tasks_known(size_t place, int64_t round) const {
    const size_t reach = options_.data == "own" ? 0 : static_cast<size_t>(round) + 1;
    std::set<std::string> tasks;
    for (const size_t near : places_near(place, reach, ring_.size())) {
      for (const std::string& task : in_.tasks_of(ring_[near])) {
        tasks.insert(task);
      }
    }
    return tasks;
  }

  const FusionInput& in_;
  const Options& options_;
  CoefficientMerge merged_;
  std::vector<size_t> ring_;       // experts
  std::vector<at::Tensor> nodes_;  // coefficients of the experts' task vectors [experts, columns], by place
  std::map<std::string, AdaptationStream> streams_;  // by task
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_gradients;
  Ring ring(in, options);
  for (int64_t round = 0; round < options.rounds; ++round) {
    ring.talk(round);
  }
  const at::Tensor lambdas = ring.mean();
  FusedModel fused = one_model(ring.model(lambdas));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "gossip",
     .title = "Gossip AdaMerging",
     .paper = "FusionBench (Tang et al., 2024, arXiv:2406.03280)",
     .formula = R"(node n of a ring holds theta_n, at first expert n; in each round, all at once,
theta_n^l <- theta_0^l + sum_(m in {n - 1, n, n + 1}) lambda_m^l (theta_m^l - theta_0^l),   lambda minimises the entropy of the predictions on what n knows
theta     = mean of theta_n over n, after the last round)",
     .family = Family::kTestTime,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
     .demands = {Demand::kDistribution},
     .random = true,
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::gossip
