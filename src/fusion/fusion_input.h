#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/weights.h"
#include "fusion/data_source.h"
#include "fusion/engine.h"
#include "fusion/fused_model.h"
#include "fusion/method.h"
#include "fusion/passes/order_statistics.h"
#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid {

// Ascending labels by task; of a task that is not there, all.
using ClassesSeen = std::map<std::string, std::vector<int64_t>>;

// What FusionInput is made of. Everything outlives it.
struct FusionContext {
  const MethodCard* card = nullptr;
  Engine* engine = nullptr;
  const Network* network = nullptr;
  const DataSource* data = nullptr;
  StatisticsCache* cache = nullptr;
  std::vector<std::string> expert_names;           // in their order
  std::map<std::string, std::string> owners = {};  // the tasks that the experts own, each with its expert
  // The tasks that several experts were made for, so that none owns them: with these experts.
  std::map<std::string, std::vector<std::string>> shared_tasks = {};
  // Likewise of tasks that commands answer: `data` has no examples of them.
  std::map<std::string, std::string> external_owners = {};
  // Of experts that have seen some classes of a task alone, these: their labels, by expert and task.
  std::map<std::string, ClassesSeen> classes_seen = {};
  uint64_t seed = 0;
  const Weights* base = nullptr;
  std::string base_key;  // identifies the base in the cache (digest of its weights)
  std::vector<const Weights*> experts;
  std::vector<std::string> expert_keys;  // identify each expert in the cache (digest of its weights)
  const Weights* multitask = nullptr;    // where the zoo has one
  // Those that the multi-task model was trained with, where it has its own.
  std::map<std::string, std::shared_ptr<const Readout>> multitask_readouts = {};
  std::function<void()> tick = [] {};  // tells the supervisor that work goes on
};

// Of models that the engine streams: no whole model, no data and no tasks, and names identify experts. `cache` must
// be a merge's own, so that ranks make the same passes.
FusionContext streamed_context(const Method& method, Engine& engine, StatisticsCache& cache,
                               std::vector<std::string> expert_names, uint64_t seed);

// All that a fusion method can see. It hands out only what the method's card declares; anything else throws
// AccessError, so the card is the truth about the data that a method saw.
//
// Three grains of work, each with the same bits for any engine and any number of ranks:
//   map_elements   any slice: averages, task arithmetic, TIES, DARE, EMR, ...
//   map_tensors    whole tensors: RegMean, SVD methods, ...
//   base(), expert(), network(), *_inputs()   the whole model with forward passes or gradients
class FusionInput {
 public:
  explicit FusionInput(FusionContext context);

  size_t num_experts() const { return context_.engine->num_experts(); }
  const std::vector<std::string>& expert_names() const { return context_.expert_names; }
  // The tasks with examples that the experts were made for: all, in the order of the experts; and of one of them.
  const std::vector<std::string>& tasks() const { return tasks_; }
  std::vector<std::string> tasks_of(size_t expert) const;
  // The expert of each task that they own, whether it has examples or a command answers it: for models per task.
  std::map<std::string, std::string> owners() const;
  // What each expert was trained on, in their order. Need::kClassesSeen.
  std::vector<ClassesSeen> classes_seen() const;
  const std::vector<TensorInfo>& tensors() const { return context_.engine->tensors(); }
  int64_t num_elements() const { return context_.engine->num_elements(); }  // of all floating tensors
  uint64_t seed() const { return context_.seed; }
  at::Device device() const { return context_.engine->device(); }
  // Long loops call it so that the supervisor does not take them for a hang. Engine passes do so themselves.
  void tick() const { context_.tick(); }

  // -- element grain: slices are 1-D
  using FuseSlice = std::function<at::Tensor(const Slice&)>;
  Weights map_elements(const FuseSlice& fuse) const;
  // Several models at once; `fuse` returns one tensor for each.
  using FuseSlices = Engine::Fuse;
  std::vector<Weights> map_elements(size_t models, const FuseSlices& fuse) const;
  // Sums over all elements of the model: float64 per block, blocks in order. `value` writes `width` numbers.
  std::vector<double> reduce(size_t width, const std::function<void(const Slice&, double* out)>& value) const;
  std::vector<std::vector<double>> reduce_per_tensor(
      size_t width, const std::function<void(const Slice&, double* out)>& value) const;
  // A lazy field, shared between cells; see Field.
  Field field(std::string key, std::function<at::Tensor(const Slice&)> value) const;
  // The same of a value that needs whole tensors (the SVD of a matrix, ...): only map_tensors and
  // reduce_tensors can read it.
  Field tensor_field(std::string key, std::function<at::Tensor(const Slice&)> value) const;
  Field matrix_field(std::string key,
                     std::function<at::Tensor(const Slice&)> value) const;  // as map_matrices()
  Field task_vector_sum() const;
  // Exact order statistics of vectors that are functions of the slice: see order_statistics.h.
  std::vector<std::vector<float>> kth_smallest(Order order, size_t width, const std::vector<int64_t>& ks,
                                               const SliceVectors& vectors) const;
  // Element-wise, of numbers that each rank counted in its part of the passes.
  void sum_over_ranks(std::vector<int64_t>& counters) const { context_.engine->sum_over_ranks(counters); }
  // The k-th smallest |task vector| of each expert, among the entries of the tensors that `chosen` accepts.
  std::vector<float> kth_magnitude(
      int64_t k,
      const std::function<bool(const TensorInfo&)>& chosen = [](const TensorInfo&) { return true; }) const;

  // -- tensor grain: slices are whole tensors in their own shape; tensors without elements are left out
  Weights map_tensors(const FuseSlice& fuse) const;
  std::vector<Weights> map_tensors(size_t models, const FuseSlices& fuse) const;
  // The same for methods of matrices: kernels of convolutions are matrices [out, in ...], see kernel_matrices.h.
  Weights map_matrices(const FuseSlice& fuse) const;
  std::vector<Weights> map_matrices(size_t models, const FuseSlices& fuse) const;
  // `width` numbers of every tensor, [tensors][width], the same on every rank: `value` sees a whole tensor and
  // is called on one rank only, so nothing is ever added up.
  std::vector<std::vector<double>> reduce_tensors(
      size_t width, const std::function<void(const Slice&, double* out)>& value) const;

  // -- whole models (float32, on device()): Grain::kWholeModel
  const Weights& base() const;  // Need::kPretrained
  const Weights& expert(size_t index) const;
  std::vector<Weights> experts() const;  // shares their storage
  const Weights& multitask() const;      // Need::kMultitask
  const std::map<std::string, std::shared_ptr<const Readout>>& multitask_readouts() const;
  const Network& network() const { return *context_.network; }

  // -- data, as the card declares; at most `count` examples from the front of the shuffled split, -1: all of
  // it
  Inputs train_inputs(const std::string& task, int64_t count) const;      // Need::kTrainInputs
  Examples train_examples(const std::string& task, int64_t count) const;  // Need::kTrainLabels
  Examples validation_examples(const std::string& task) const;            // Need::kValidationExamples
  // What a method adapts on, under the shift that it is tested under: all of the test split (Need::kTestInputs) or of
  // validation (Need::kValidationInputs), whichever is declared.
  Inputs inputs_to_adapt_on(const std::string& task) const;
  // What an output for a task means; no data.
  const TaskKind& kind(const std::string& task) const { return context_.data->kind(task); }

  // -- statistics, computed once per expert and recipe
  // Gram matrices of the inputs of expert `index`'s layers on `examples` unlabelled training inputs, dealt evenly over
  // its tasks, which weigh alike: Layer::input -> float64 [in, in], X^T X / rows. Need::kTrainInputs.
  std::shared_ptr<const Weights> gram(size_t index, int64_t examples) const;
  // Diagonal Fisher estimates, likewise: tensor name -> float32 of the tensor's shape. Need::kTrainInputs and
  // kGradients; ConfigError where a task's kind has no distribution.
  std::shared_ptr<const Weights> fisher(size_t index, int64_t examples, int64_t batch,
                                        const std::string& variant) const;
  // The other factor of Kronecker's form of the Fisher information, likewise: Layer::name -> float64 [out, out], see
  // gradient_gram_matrices(). Needs as fisher().
  std::shared_ptr<const Weights> gradient_gram(size_t index, int64_t examples) const;
  // Mean over labelled training examples of the expert's tasks, likewise, of |d loss|^power: tensor name -> float32 of
  // the tensor's shape. By the expert's own weights or, `at_base`, by the base's. Need::kTrainInputs, kTrainLabels and
  // kGradients, and kPretrained for the base's.
  std::shared_ptr<const Weights> loss_gradients(size_t index, int64_t examples, int64_t power,
                                                bool at_base) const;
  // Anything else that depends on the base and one expert alone, whatever the other experts are.
  std::shared_ptr<const Weights> expert_statistic(size_t index, const std::string& key,
                                                  StatisticsCache::Keep keep,
                                                  const std::function<Weights()>& compute) const;
  // Numbers that a method makes in passes of its own (thresholds, norms) and that all cells with the same key
  // share; `key` as for Field.
  std::vector<double> scalars(const std::string& key,
                              const std::function<std::vector<double>()>& compute) const;
  // Anything else that only depends on the models: `key` as for Field.
  std::shared_ptr<const Weights> statistic(const std::string& key, StatisticsCache::Keep keep,
                                           const std::function<Weights()>& compute) const;
  // Anything that is trained on labelled training examples of all tasks, from all experts in their order, with random
  // numbers of the seed. Need::kTrainInputs, kTrainLabels and kGradients.
  std::shared_ptr<const Weights> trained(const std::string& key,
                                         const std::function<Weights()>& compute) const;

 private:
  void require(Need need, const char* what) const;
  void require_whole_models() const;
  std::string models_key() const;
  std::string expert_on_data(size_t index) const;

  FusionContext context_;
  std::vector<std::string> tasks_;
};

// Identity of a set of models in the cache.
std::string models_key(const std::string& base_key, const std::vector<std::string>& expert_keys);
// Identity of an expert with what it sees: the data, and the frozen parts of its network.
std::string on_data_key(const std::string& expert_key, const Network& network, const DataSource& data);
// Keys of FusionInput::gram(), gradient_gram() and fisher() in the cache. tasks: those of the expert, joined by '+';
// expert_on_data: an on_data_key().
std::string gram_key(int64_t examples, const std::string& tasks, const std::string& expert_on_data);
std::string gradient_gram_key(int64_t examples, const std::string& tasks, const std::string& expert_on_data);
std::string fisher_key(int64_t examples, int64_t batch, const std::string& variant, const std::string& tasks,
                       const std::string& expert_on_data);

}  // namespace fusegrid
