#include "fusion/fusion_input.h"

#include <algorithm>
#include <bit>

#include <ATen/ops/tensor.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/kernel_matrices.h"

namespace fusegrid {
namespace {

// Methods never see a tensor without elements: there is nothing to merge in it, and no k-th entry or norm.
FusionInput::FuseSlice where_elements(FusionInput::FuseSlice fuse) {
  return [fuse = std::move(fuse)](const Slice& slice) {
    return slice.count == 0 ? slice.expert(0) : fuse(slice);
  };
}

}  // namespace

std::string models_key(const std::string& base_key, const std::vector<std::string>& expert_keys) {
  return sha256_hex(base_key + "|" + join(expert_keys, "|")).substr(0, 16);
}

std::string on_data_key(const std::string& expert_key, const Network& network, const DataSource& data) {
  return expert_key + "/" + data.key() + "/" + digest(network);
}

FusionContext streamed_context(const Method& method, Engine& engine, StatisticsCache& cache,
                               std::vector<std::string> expert_names, uint64_t seed) {
  FusionContext context;
  context.card = &method.card;
  context.engine = &engine;
  context.cache = &cache;
  context.expert_keys = expert_names;
  context.expert_names = std::move(expert_names);
  context.seed = seed;
  return context;
}

FusionInput::FusionInput(FusionContext context) : context_(std::move(context)) {
  FUSEGRID_ASSERT(context_.card != nullptr && context_.engine != nullptr && context_.cache != nullptr,
                  "incomplete fusion context");
  for (size_t i = 0; i < context_.expert_names.size(); ++i) {
    for (const std::string& task : tasks_of(i)) {
      if (std::find(tasks_.begin(), tasks_.end(), task) == tasks_.end()) {
        tasks_.push_back(task);
      }
    }
  }
}

std::vector<std::string> FusionInput::tasks_of(size_t expert) const {
  std::vector<std::string> tasks;
  for (const auto& [task, owner] : context_.owners) {
    if (owner == context_.expert_names.at(expert)) {
      tasks.push_back(task);
    }
  }
  for (const auto& [task, experts] : context_.shared_tasks) {
    if (std::find(experts.begin(), experts.end(), context_.expert_names.at(expert)) != experts.end()) {
      tasks.push_back(task);
    }
  }
  return tasks;
}

std::map<std::string, std::string> FusionInput::owners() const {
  std::map<std::string, std::string> owners = context_.owners;
  owners.insert(context_.external_owners.begin(), context_.external_owners.end());
  return owners;
}

std::vector<ClassesSeen> FusionInput::classes_seen() const {
  require(Need::kClassesSeen, "the classes that experts have seen");
  std::vector<ClassesSeen> all;
  for (const std::string& expert : expert_names()) {
    const auto seen = context_.classes_seen.find(expert);
    all.push_back(seen == context_.classes_seen.end() ? ClassesSeen() : seen->second);
  }
  return all;
}

void FusionInput::require(Need need, const char* what) const {
  if (!context_.card->needs.contains(need)) {
    throw AccessError("method '" + context_.card->name + "' asked for " + what +
                      ", but its card does not declare '" + to_string(need) + "'");
  }
}

std::string FusionInput::models_key() const {
  return fusegrid::models_key(context_.base_key, context_.expert_keys);
}

std::string FusionInput::expert_on_data(size_t index) const {
  return on_data_key(context_.expert_keys.at(index), network(), *context_.data);
}

Weights FusionInput::map_elements(const FuseSlice& fuse) const {
  return map_elements(1, [&](const Slice& slice) { return std::vector<at::Tensor>{fuse(slice)}; }).front();
}

std::vector<Weights> FusionInput::map_elements(size_t models, const FuseSlices& fuse) const {
  return context_.engine->map_slices(models, fuse);
}

Weights FusionInput::map_tensors(const FuseSlice& fuse) const {
  return map_tensors(1, [&](const Slice& slice) { return std::vector<at::Tensor>{fuse(slice)}; }).front();
}

std::vector<Weights> FusionInput::map_tensors(size_t models, const FuseSlices& fuse) const {
  return context_.engine->map_tensors(models, [&](const Slice& slice) {
    return slice.count == 0 ? std::vector<at::Tensor>(models, slice.expert(0)) : fuse(slice);
  });
}

Weights FusionInput::map_matrices(const FuseSlice& fuse) const {
  return map_tensors(with_kernel_matrices(fuse));
}

std::vector<Weights> FusionInput::map_matrices(size_t models, const FuseSlices& fuse) const {
  return map_tensors(models, with_kernel_matrices(fuse));
}

std::vector<std::vector<double>> FusionInput::reduce_per_tensor(
    size_t width, const std::function<void(const Slice&, double* out)>& value) const {
  return context_.engine->reduce_per_tensor(width, value);
}

std::vector<std::vector<double>> FusionInput::reduce_tensors(
    size_t width, const std::function<void(const Slice&, double* out)>& value) const {
  std::vector<int64_t> bits(tensors().size() * width, 0);  // a tensor is one rank's: the others add zero
  std::vector<double> numbers(width);
  context_.engine->for_each_tensor([&](const Slice& slice) {
    std::fill(numbers.begin(), numbers.end(), 0.0);
    if (slice.count > 0) {
      value(slice, numbers.data());
    }
    for (size_t i = 0; i < width; ++i) {
      bits[slice.tensor_index * width + i] = std::bit_cast<int64_t>(numbers[i]);
    }
  });
  context_.engine->sum_over_ranks(bits);
  std::vector<std::vector<double>> all(tensors().size(), std::vector<double>(width));
  for (size_t i = 0; i < bits.size(); ++i) {
    all[i / width][i % width] = std::bit_cast<double>(bits[i]);
  }
  return all;
}

std::vector<double> FusionInput::reduce(size_t width,
                                        const std::function<void(const Slice&, double* out)>& value) const {
  std::vector<double> total(width, 0.0);
  for (const auto& sums : reduce_per_tensor(width, value)) {
    for (size_t i = 0; i < width; ++i) {
      total[i] += sums[i];
    }
  }
  return total;
}

Field FusionInput::field(std::string key, std::function<at::Tensor(const Slice&)> value) const {
  return {std::move(key), std::move(value), false};
}

Field FusionInput::tensor_field(std::string key, std::function<at::Tensor(const Slice&)> value) const {
  return {std::move(key), where_elements(std::move(value)), true};
}

Field FusionInput::matrix_field(std::string key, std::function<at::Tensor(const Slice&)> value) const {
  return tensor_field(std::move(key), with_kernel_matrices(std::move(value)));
}

Field FusionInput::task_vector_sum() const {
  require(Need::kPretrained, "task vectors");
  return field("task_vector_sum", [](const Slice& slice) { return sum_of(slice.task_vector_views()); });
}

std::vector<float> FusionInput::kth_magnitude(int64_t k,
                                              const std::function<bool(const TensorInfo&)>& chosen) const {
  require(Need::kPretrained, "task vectors");
  const auto taus = [&](const Slice& slice) {
    return chosen(*slice.info) ? slice.task_vector_views() : std::vector<SliceVector>();
  };
  std::vector<float> magnitudes;
  for (const auto& of_expert : kth_smallest(Order::kMagnitudes, num_experts(), {k}, taus)) {
    magnitudes.push_back(of_expert.front());
  }
  return magnitudes;
}

std::vector<std::vector<float>> FusionInput::kth_smallest(Order order, size_t width,
                                                          const std::vector<int64_t>& ks,
                                                          const SliceVectors& vectors) const {
  return fusegrid::kth_smallest(*context_.engine, order, width, ks, vectors);
}

void FusionInput::require_whole_models() const {
  if (context_.card->grain != Grain::kWholeModel) {
    throw AccessError("method '" + context_.card->name +
                      "' asked for whole weights, but its card declares grain '" +
                      to_string(context_.card->grain) + "'");
  }
}

const Weights& FusionInput::base() const {
  require_whole_models();
  require(Need::kPretrained, "the base weights");
  return *context_.base;
}

const Weights& FusionInput::expert(size_t index) const {
  require_whole_models();
  return *context_.experts.at(index);
}

std::vector<Weights> FusionInput::experts() const {
  std::vector<Weights> all;
  for (size_t i = 0; i < num_experts(); ++i) {
    all.push_back(expert(i));
  }
  return all;
}

const Weights& FusionInput::multitask() const {
  require_whole_models();
  require(Need::kMultitask, "the multi-task model");
  if (context_.multitask == nullptr) {
    throw ConfigError("the zoo has no multi-task model; leave out '" + context_.card->name +
                      "' or build one");
  }
  return *context_.multitask;
}

const std::map<std::string, std::shared_ptr<const Readout>>& FusionInput::multitask_readouts() const {
  require(Need::kMultitask, "the multi-task model");
  return context_.multitask_readouts;
}

Inputs FusionInput::train_inputs(const std::string& task, int64_t count) const {
  require(Need::kTrainInputs, "training inputs");
  return context_.data->examples(task, "train", count).inputs;
}

Examples FusionInput::train_examples(const std::string& task, int64_t count) const {
  require(Need::kTrainInputs, "training inputs");
  require(Need::kTrainLabels, "training labels");
  return context_.data->examples(task, "train", count);
}

Inputs FusionInput::inputs_to_adapt_on(const std::string& task) const {
  if (context_.card->needs.contains(Need::kValidationInputs)) {
    return context_.data->inputs_to_adapt_on(task, "val");
  }
  require(Need::kTestInputs, "inputs to adapt on");
  return context_.data->inputs_to_adapt_on(task, "test");
}

Examples FusionInput::validation_examples(const std::string& task) const {
  require(Need::kValidationExamples, "labelled validation examples");
  return context_.data->examples(task, "val", -1);
}

std::shared_ptr<const Weights> FusionInput::expert_statistic(size_t index, const std::string& key,
                                                             StatisticsCache::Keep keep,
                                                             const std::function<Weights()>& compute) const {
  const std::string models = context_.base_key + "/" + context_.expert_keys.at(index);
  return context_.cache->get("expert/" + models + "/" + key, keep, compute);
}

std::vector<double> FusionInput::scalars(const std::string& key,
                                         const std::function<std::vector<double>()>& compute) const {
  const auto kept = statistic("scalars/" + key, StatisticsCache::Keep::kMemory, [&] {
    const std::vector<double> values = compute();
    const auto options = at::TensorOptions(at::kDouble);
    return Weights{{"scalars", at::tensor(at::ArrayRef<double>(values), options)}};
  });
  const at::Tensor& values = kept->at("scalars");
  const auto* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

std::shared_ptr<const Weights> FusionInput::statistic(const std::string& key, StatisticsCache::Keep keep,
                                                      const std::function<Weights()>& compute) const {
  return context_.cache->get(models_key() + "/" + key, keep, compute);
}

std::shared_ptr<const Weights> FusionInput::trained(const std::string& key,
                                                    const std::function<Weights()>& compute) const {
  for (const Need need : {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients}) {
    require(need, "what is trained");
  }
  const std::string of_all = "trained/seed=" + number_text(static_cast<int64_t>(seed())) + "/" +
                             join(tasks_, "+") + "/" + on_data_key(models_key(), network(), *context_.data);
  return context_.cache->get(of_all + "/" + key, StatisticsCache::Keep::kMemoryAndDisk, compute);
}

}  // namespace fusegrid
