#include "fusion/alignment/training_loss.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "core/errors.h"
#include "models/channel_norm.h"
#include "models/feeder.h"

namespace fusegrid {
namespace {

constexpr int64_t kExamplesOfAPass = 256;

}  // namespace

TrainingLoss::TrainingLoss(const FusionInput& in, size_t first, size_t second, int64_t examples) : in_(in) {
  std::vector<std::string> names = in.tasks_of(first);
  for (const std::string& task : in.tasks_of(second)) {
    if (std::find(names.begin(), names.end(), task) == names.end()) {
      names.push_back(task);
    }
  }
  if (names.empty()) {
    throw ConfigError("permutations can only be trained on examples, but the experts '" +
                      in.expert_names()[first] + "' and '" + in.expert_names()[second] +
                      "' have no task; use a method that compares weights");
  }
  const int64_t share = std::max<int64_t>(1, examples / static_cast<int64_t>(names.size()));
  for (const std::string& task : names) {
    tasks_.emplace_back(task, in.train_examples(task, share));
  }
}

double TrainingLoss::add_gradients(const std::function<Model()>& make) const {
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(in_.network().precision);
  double loss = 0;
  for (const auto& [task, examples] : tasks_) {
    const TaskKind& kind = in_.kind(task);
    const double share = 1 / static_cast<double>(examples.inputs.size()) / static_cast<double>(tasks_.size());
    feed(in_.network(), examples.inputs, kExamplesOfAPass,
         [&, &task = task, &examples = examples](const Inputs& ready, const at::Tensor& places) {
           Model model = make();
           Network network = in_.network();
           for (auto& [head, readout] : model.readouts) {
             network.readouts[head] = readout;
           }
           const Examples part = examples.at(places, ready).to(network.device);
           // Batch norms use the batch's statistics: the running ones of a model in the middle belong to no model.
           const at::Tensor output =
               network.output(model.weights, kind.taught(part), task, with_own_statistics());
           const at::Tensor of_part = kind.losses(output, part).sum() * share;
           of_part.backward();
           loss += of_part.item<double>();
           in_.tick();
         });
  }
  return loss;
}

}  // namespace fusegrid
