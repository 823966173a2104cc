// RanDeS with shuffled layers: move every task vector's matrices to random layers (and flip the signs of their columns)
// before they are superposed; a task gets its own back by undoing its own moves and flips, and the others' become
// noise.
//
// Source:  Zhou et al., "RanDeS: Randomized Delta Superposition for Multi-Model Compression", 2025,
//          arXiv:2505.11204; FusionBench's shift_layers = -1, alone (identity_matrix) or with
//          random_binary_diagonal_matrix. As there, tensors of one name but for the number of the layer form a group,
//          and the groups of a stack move alike, so that a task's layers move as wholes.
// Differs: as randes: tensors by their dimensions, not by names, and Philox numbers of (seed, task, stack). A stack is
//          what stands before the first number of a name; the original looks for the number at one place in all names
//          and gives stacks of equal depth the same order. Tensors whose shape differs from layer to layer move among
//          those of their own shape (the original would add what does not fit).
// Grain:   whole model: what a task gets in one layer was superposed in another.
// Cost:    two sweeps over N experts in memory. Stored: base, one superposition, one seed per task.

#include <map>
#include <numeric>
#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "core/block_name.h"
#include "core/philox.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_signs.h"
#include "fusion/whole_model/batch_statistics.h"

namespace fusegrid::methods::randes_shuffle {
namespace {

struct Options {
  std::string tensors = "matrices";
  bool flip = true;
  double scale = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("tensors", tensors, Choices{"matrices", "all"},
            "what is moved and flipped; the other task vectors are just added");
    v.param("flip", flip, "also flip the signs of random columns, as randes does");
    v.param("scale", scale, Range{-2, 2}, "multiplier of what a task gets back");
  }

  bool takes(const TensorInfo& tensor) const { return tensors == "all" || tensor.shape.size() >= 2; }
};

// Tensors that may change places, by their layer's number: indices into FusionInput::tensors().
struct Group {
  std::string stack;
  std::map<int64_t, size_t> layers;
};

std::vector<Group> groups_of(const std::vector<TensorInfo>& tensors, const Options& options) {
  std::map<std::tuple<std::string, std::string, std::vector<int64_t>>, Group> groups;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const BlockName name = block_name(tensors[t].name);
    if (name.inside && options.takes(tensors[t])) {
      Group& group = groups[{name.stack, name.rest, tensors[t].shape}];
      group.stack = name.stack;
      group.layers[name.block] = t;
    }
  }
  std::vector<Group> found;
  for (auto& [key, group] : groups) {
    if (group.layers.size() > 1) {
      found.push_back(std::move(group));
    }
  }
  return found;
}

// The tensor in whose place each tensor of the task vector of `expert` is superposed.
std::vector<size_t> places_of(const FusionInput& in, const std::vector<Group>& groups, size_t expert) {
  std::vector<size_t> places(in.tensors().size());
  std::iota(places.begin(), places.end(), size_t{0});
  for (const Group& group : groups) {
    const uint64_t key =
        derive_key(in.seed(), "randes_shuffle/" + in.expert_names()[expert] + "/" + group.stack);
    std::vector<size_t> members;
    for (const auto& [layer, index] : group.layers) {
      members.push_back(index);
    }
    const auto order = permutation(key, 0, static_cast<int64_t>(members.size()));
    for (size_t k = 0; k < members.size(); ++k) {
      places[members[k]] = members[static_cast<size_t>(order[k])];
    }
  }
  return places;
}

class Superposition {
 public:
  Superposition(const FusionInput& in, const Options& options)
      : in_(in), options_(options), start_(with_mean_statistics(in.base(), in.experts())) {
    const std::vector<Group> groups = groups_of(in.tensors(), options);
    for (const TensorInfo& tensor : in.tensors()) {
      sums_.push_back(at::zeros_like(in.base().at(tensor.name)));
    }
    for (size_t i = 0; i < in.num_experts(); ++i) {
      places_.push_back(places_of(in, groups, i));
      for (size_t t = 0; t < in.tensors().size(); ++t) {
        const std::string& name = in.tensors()[t].name;
        const size_t place = places_[i][t];
        sums_[place].add_(flipped(in.expert(i).at(name) - in.base().at(name), i, place));
      }
      in.tick();
    }
    for (const Group& group : groups) {
      num_moved_ += group.layers.size();
    }
  }

  // What task `expert` gets back, scaled and added to the base.
  Weights retrieve(size_t expert) const {
    Weights model = start_;
    for (size_t t = 0; t < in_.tensors().size(); ++t) {
      const size_t place = places_[expert][t];
      at::Tensor& weight = model.at(in_.tensors()[t].name);
      weight = weight + flipped(sums_[place], expert, place) * options_.scale;
    }
    in_.tick();
    return model;
  }

  size_t num_moved() const { return num_moved_; }

 private:
  // `value` with the flips of `expert` in the place of tensor `place`; they undo themselves.
  at::Tensor flipped(const at::Tensor& value, size_t expert, size_t place) const {
    const TensorInfo& tensor = in_.tensors()[place];
    if (!options_.flip || !options_.takes(tensor)) {
      return value;
    }
    const at::Tensor signs = column_signs(in_, expert, tensor).to(value.device());
    return value * (value.dim() == 0 ? signs.squeeze() : signs);
  }

  const FusionInput& in_;
  Options options_;
  Weights start_;                            // what is not superposed stays as it is here
  std::vector<std::vector<size_t>> places_;  // [experts][tensors]
  std::vector<at::Tensor> sums_;             // of the tensors' shapes
  size_t num_moved_ = 0;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Superposition superposition(in, options);
  std::vector<Weights> models;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    models.push_back(superposition.retrieve(i));
  }
  const auto stored = 2 * static_cast<double>(in.num_elements()) + static_cast<double>(in.num_experts());
  FusedModel fused = models_of_tasks(in, std::move(models), stored);
  fused.facts["moved_tensors"] = std::to_string(superposition.num_moved());
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "randes_shuffle",
     .title = "RanDeS, shuffled layers",
     .paper = "Zhou et al., 2025, arXiv:2505.11204",
     .formula = R"(P_i: random permutation of the layers of each stack, one per task
S^(l) = sum_j tau_j^(P_j^-1(l)) D_j^(l)   per matrix of layer l,   D_j^(l) diagonal with random entries +1 and -1 (flip)
theta^(i),(l) = theta_0^(l) + scale * S^(P_i(l)) D_i^(P_i(l))
matrices outside of layers are only flipped, other tensors are added
whole model: layer l of task i is read from layer P_i(l) of the superposition)",
     .family = Family::kTaskVector,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .random = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::randes_shuffle
