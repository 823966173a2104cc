#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/registry.h"
#include "core/result.h"
#include "metrics/metric.h"
#include "models/network.h"
#include "store/task_pack.h"

namespace fusegrid {

// What a model answers to the examples of one split, as its task's kind scores it.
struct Answers {
  std::map<std::string, double> metrics = {};  // by name, without those that are not defined for the split
  std::map<std::string, std::string> undefined = {};  // those, with the reason
  std::vector<Outcomes> outcomes = {};                // rows of metrics, without their split
  std::map<std::string, std::string> facts = {};      // what else is recorded of it, without its split
  std::vector<int32_t> predictions = {};  // classes, in the order of the examples; of kinds with classes
  int64_t examples = 0;
  bool finite = true;  // false: some output was NaN or infinite
};

// What a kind is told about the model: its output for ready inputs (Network::ready()). memory: of a model that answers
// token by token, see Pass; else null.
using Asker = std::function<at::Tensor(const Inputs& ready, Memory* memory)>;

// Of a network that outlives it, with these weights, under a head.
Asker asker_of(const Network& network, Weights weights, std::string head);

// How examples are put before a model.
struct Asking {
  // Visits stored inputs batch by batch, each as the model reads it: feed() of a network, or for_each_batch().
  std::function<void(const Inputs& stored, int64_t batch,
                     const std::function<void(const Inputs& ready, const at::Tensor& places)>& visit)>
      feed;
  Asker output;
  int64_t batch = 256;                     // examples of one pass at most
  std::function<void()> on_batch = [] {};  // called after each
};

// A kind of task: what an output means. It owns the loop around the passes of a model, the loss, the distribution and
// the metrics. One .cpp of src/tasks/kinds each, registering itself.
class TaskKind {
 public:
  virtual ~TaskKind() = default;
  // The kind as it is for one task, whose attributes it reads (docs/packs.md, "Kinds"); tokens: the table of its pack,
  // null where it has none, which outlives it. Null: it is the same for all tasks. What a kind asks or scores is that
  // of a task; the rest it answers without one.
  virtual std::unique_ptr<const TaskKind> of_task(const TaskInfo& /*task*/,
                                                  const TokenTable* /*tokens*/) const {
    return nullptr;
  }
  virtual std::string doc() const = 0;
  // Names of metric rules; the first is the primary one unless the task names another.
  virtual std::vector<std::string> metrics() const = 0;
  // Further numbers that it records: functions of all examples together, without a rule and an interval.
  virtual std::vector<std::string> numbers() const { return {}; }
  // Whether outputs are distributions, so that they have an entropy and a Fisher information.
  virtual bool has_distribution() const = 0;
  virtual bool has_classes() const = 0;  // whether an answer is one of several classes
  // Whether outputs are logits of tokens, which the model makes itself (Architecture::own_head()): then no head is
  // asked for.
  virtual bool has_tokens() const { return false; }
  // Whether an answer has a value for each pixel: then a head is a decoder of maps (models/dense_readout.h).
  virtual bool has_maps() const { return false; }
  // Whether outputs are velocities of a state: those of the patches, as Architecture::features() gives them. Then no
  // head is asked for.
  virtual bool has_states() const { return false; }
  // Whether a task's inputs say what is to be answered, so that nobody can see them without the labels.
  virtual bool inputs_are_labels() const { return false; }
  // Columns of the outputs for a task with so many classes, 0 where it has none: what its head must have.
  virtual int64_t outputs(int64_t classes) const = 0;
  // What a model is given in training: inputs, and of answers the tokens before the one to be predicted.
  virtual Inputs taught(const Examples& ready) const { return ready.inputs; }
  // Of training, [examples]; output: of the inputs taught().
  virtual at::Tensor losses(const at::Tensor& output, const Examples& examples) const = 0;
  // Inputs with the answer that the model itself gives, where outputs are distributions along an answer.
  virtual Inputs completed(const Inputs& ready, const Asker& output) const;
  // [rows, classes], in the order of the inputs; of an answer's rows those that count. output: of inputs that are
  // completed(). Kinds that have a distribution override it; nobody asks others.
  virtual at::Tensor log_probabilities(const at::Tensor& output, const Inputs& inputs) const;
  // Asks for all examples, which are not empty.
  virtual Answers answer(const Examples& examples, const Asking& asking) const = 0;
};

Registry<const TaskKind*>& kind_registry();
const TaskKind& task_kind(const std::string& name);  // ConfigError listing what is known
// The kind of a task, as TaskKind::of_task() makes it. tokens outlives it.
std::shared_ptr<const TaskKind> kind_of(const TaskInfo& task, const TokenTable* tokens);

// Adds the value of a metric's rows to the answers, or why it has none.
void add_metric(Answers& answers, const std::string& metric, const MetricRows& rows);

// Mean entropy (nats) of the rows of a distribution given as log_probabilities().
at::Tensor mean_entropy(const at::Tensor& log_probabilities);

}  // namespace fusegrid
