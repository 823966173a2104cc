#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/network.h"

namespace fusegrid {

// What a predictor is told besides the inputs.
struct Ask {
  std::string head;  // whose readout is to be applied
  // The identity of the task for the body of the model: given only to methods whose card says that they need it, so
  // that a row without that mark cannot have used it.
  std::optional<std::string> task;
  // While a model answers token by token: what it keeps, see Pass. A predictor of several models gives each a part; one
  // that ignores it computes all rows again.
  Memory* memory = nullptr;
};

// What a method returns: something that answers one forward pass. Predictors hold their weights on the network's
// device.
class Predictor {
 public:
  virtual ~Predictor() = default;
  // The readout's output for inputs that the network made ready: logits [n, classes].
  virtual at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const = 0;
  // All weights it holds, under names: for digests, NaN checks and saving. One model: its own names.
  virtual Weights weights() const = 0;
  // The parameters of the model that alone answers a task; null where no single one does.
  virtual const Weights* model_of(const std::string& /*task*/) const { return nullptr; }
  // The same of other weights: what `change` makes of those of each of its whole models; null where it holds others.
  virtual std::shared_ptr<const Predictor> mapped(
      const std::function<Weights(const Weights&)>& /*change*/) const {
    return nullptr;
  }
  // The same with its models held in the precision, so that a pass need not round them; null: as it is.
  virtual std::shared_ptr<const Predictor> held_in(Precision precision) const {
    return mapped([=](const Weights& weights) { return rounded(weights, precision); });
  }
};

struct FusedModel {
  std::shared_ptr<const Predictor> predictor;
  // Numbers that must be stored to serve all tasks, in units of 32-bit parameters (a 1-bit mask of d
  // elements: d / 32).
  double stored_parameters = 0;
  // What the method learnt or chose, as text for the record ("coefficients", "rescalers", ...).
  std::map<std::string, std::string> facts;
  // Readouts that belong to it instead of the network's, by head: those of a model that was trained with its own.
  std::map<std::string, std::shared_ptr<const Readout>> readouts = {};
  // Of one model that is the mean of others whose units were brought into one order first: these, and what each counts.
  std::vector<std::pair<double, Weights>> mean_of = {};
};

// The kinds of result that methods share. A method with a kind of its own derives from Predictor in its own
// file.
FusedModel one_model(Weights weights);
// One model per task, that of the expert which owns it; asking for a task without owner throws. owners: task -> expert.
// `stored_parameters`: see FusedModel (the sum of all models' if the method has no better representation).
FusedModel model_per_task(std::map<std::string, Weights> by_expert, std::map<std::string, std::string> owners,
                          double stored_parameters);
// All members answer; `combine` makes one tensor of theirs, at one of three places. It is told the head, whose classes
// are what a column means, as Ask has it.
enum class EnsembleLevel {
  kFeatures,  // before the readout: what FusionBench's ensembles do; not of tokens, whose readout is the model's
  kLogits,         // [batch, classes]
  kProbabilities,  // [batch, classes], softmax of the logits; the ensemble's logits are the logarithm
};
using Combine = std::function<at::Tensor(const std::vector<at::Tensor>& answers, const std::string& head)>;
FusedModel ensemble(std::vector<Weights> members, EnsembleLevel level, Combine combine);
EnsembleLevel parse_ensemble_level(const std::string& text);  // "features", "logits", "probabilities"

int64_t num_parameters(const Weights& weights);

}  // namespace fusegrid
