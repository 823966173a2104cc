// Concrete subspace learning: one mask of the weights, shared by all task vectors and learnt on unlabelled inputs.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/coefficients.h"

namespace fusegrid {

struct ConcreteOptions {
  double scale = 0.3;
  double lr = 1e-3;
  int64_t steps = 1000;
  int64_t batch = 16;
  double temperature = 0.5;
  double initial_logit = 0;
  std::string mask = "continuous";
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "coefficient of every task vector");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam on the logits of the mask");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam on the logits");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    v.param("temperature", temperature, Range{0.01, 10},
            "of the relaxed mask; near 0 its entries are 0 or 1");
    v.param("initial_logit", initial_logit, Range{-10, 10}, "logits of the mask before the first step");
    v.param("mask", mask, Choices{"continuous", "discrete", "mean"},
            "the mask of the model: one more relaxed draw, a draw of zeros and ones, or their mean");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// Masks m / mean(m) of some tensors, the mean being that of the tensor, with m = sigmoid((logit + log u - log(1 - u)) /
// temperature) of uniform numbers u: the concrete relaxation of Bernoulli variables.
//
// Source:  Tang et al., "Concrete Subspace Learning based Interference Elimination for Multi-task Model Fusion", 2023,
//          arXiv:2312.06173; Maddison et al., "The Concrete Distribution", ICLR 2017, arXiv:1611.00712.
// Differs: the uniform numbers are Philox's of (seed, draw, element), so that the seed fixes the model.
class ConcreteMask {
 public:
  ConcreteMask(const FusionInput& in, const std::vector<std::string>& tensors,
               const ConcreteOptions& options);

  // Draws relaxed masks of all tensors. draw: number of the draw.
  void draw(int64_t draw);
  // Draws or makes those of the merged model. kind: "continuous", "discrete" or "mean".
  void settle(const std::string& kind);
  // The mask of a tensor as it was drawn last, in its shape.
  at::Tensor of(size_t tensor) const;
  // The step of Adam on a tensor's logits. gradient: dL/dmask of what of() gives.
  void step(size_t tensor, const at::Tensor& gradient);
  // dL/dlogit of the same.
  at::Tensor logit_gradient(size_t tensor, const at::Tensor& gradient) const;

 private:
  struct One {
    int64_t begin = 0;  // its first element among all of the model's
    at::Tensor logits;
    at::Tensor drawn;  // m
    Adam adam;
  };
  at::Tensor uniform_numbers(const One& one, int64_t draw) const;

  at::Device device_;
  uint64_t key_;
  double temperature_;
  std::vector<One> all_;
  int64_t draws_ = 0;
};

// Sets the moving tensors to theta_0 + mask * moved, as fresh leaves.
void merge_masked(const FusionInput& in, CoefficientMerge& merged, const ConcreteMask& mask,
                  const std::vector<at::Tensor>& moved);
// The step of the mask from the gradients of these leaves.
void step_mask(const CoefficientMerge& merged, ConcreteMask& mask, const std::vector<at::Tensor>& moved);

}  // namespace fusegrid
