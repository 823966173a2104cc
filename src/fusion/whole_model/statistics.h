#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "models/network.h"
#include "tasks/kind.h"

namespace fusegrid {

// Sums of x^T x over the rows x that the layers of an architecture read and that count; layers with a common input have
// one.
class GramSums {
 public:
  explicit GramSums(const Architecture& architecture);
  // Adds what a pass of `inputs`, which outlive it, shows of its layers.
  LayerHook observing(const Inputs& inputs);
  Weights means() const;  // Layer::input -> X^T X / rows of all passes so far, float64 [in, in]

 private:
  std::set<std::string> first_of_input_;  // of the layers that read the same, only the first is looked at
  Weights sums_;
  std::map<std::string, int64_t> rows_;
};

// Gram matrices of the inputs of all layers: Layer::input -> float64 [in, in], X^T X / rows, where the rows are all
// tokens of the inputs that count, and of the answers that the model itself gives where answers are tokens
// (TaskKind::completed()); zeros of layers that the task's passes do not read. One forward pass of `weights`. Source:
// Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models" (RegMean), ICLR 2023, arXiv:2212.09849.
Weights gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                      const TaskKind& kind, const Inputs& inputs, const std::function<void()>& tick);

// The other factor of the Fisher information of a layer's matrix in Kronecker form: Layer::name -> float64 [out, out],
// the mean over examples of sum_rows g^T g, where g is the gradient of sum_rows log p_c by a row of the layer's output
// and a class c is drawn from each row's p as in fisher_diagonal's "sampled". With the Gram matrix A of the inputs the
// information is near A (x) B where inputs and gradients are independent; zeros where A is. ConfigError where the
// kind has no distribution. Source: Martens & Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate
// Curvature", ICML 2015, arXiv:1503.05671; of several rows an example as Eschenhagen et al., NeurIPS 2023,
// arXiv:2311.00636, expand them.
Weights gradient_gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                               const TaskKind& kind, const Inputs& inputs, const std::function<void()>& tick);

// Diagonal Fisher information of a task's model on unlabelled inputs, per parameter, divided by the number of inputs.
// ConfigError where the kind has no distribution.
//   "exact"          sum_x sum_c p_c (d log p_c)^2: the true diagonal (Matena & Raffel, NeurIPS 2022,
//                    arXiv:2111.09832); asked of kinds with classes
//   "sampled"        sum_x (d sum_rows log p_c)^2 with a class c drawn from each row's p: an estimate without bias of
//                    the true diagonal along an answer, for any number of classes; x and the row decide the drawing
//   "batch_squared"  sum_batches (d sum_x sum_c sqrt(p_c) log p_c)^2: what FusionBench and MergeLM compute; it contains
//                    cross terms between the examples of a batch, so it depends on `batch`
// Rows are those of log_probabilities(): one of a task of classes, of tokens one for each of the model's own answer.
Weights fisher_diagonal(const Network& network, const Weights& weights, const std::string& task,
                        const TaskKind& kind, const Inputs& inputs, int64_t batch, const std::string& variant,
                        const std::function<void()>& tick);

// Mean over labelled examples of |d loss|^power per parameter, float32, one backward pass for each: power 2 is the
// diagonal of the empirical Fisher information, 1 what a trust region measures. loss: that of training.
Weights loss_gradients(const Network& network, const Weights& weights, const std::string& task,
                       const TaskKind& kind, const Examples& examples, int64_t power,
                       const std::function<void()>& tick);

}  // namespace fusegrid
