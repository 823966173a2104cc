#include "zoo/fine_tuning.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "zoo/examples.h"
#include "zoo/image_batches.h"
#include "zoo/token_batches.h"

namespace fusegrid {
namespace {

AffineHead first_head(const std::string& task, int64_t outputs, const ModelInput& in) {
  const at::Tensor weight = normal_tensor({outputs, in.network.architecture->feature_size()}, 0.02,
                                          derive_key(in.seed, "fine_tune/head/" + task));
  return {weight.to(in.network.device).requires_grad_(true),
          at::zeros({outputs}).to(in.network.device).requires_grad_(true)};
}

// What the base makes of a split, and the labels of the same rows.
std::pair<at::Tensor, at::Tensor> base_features(const Split& split, Pooling pooling, const ModelInput& in) {
  const at::NoGradGuard no_grad;
  const Examples examples = examples_of(split, in.pack.tokens(), in.network.device);
  std::vector<at::Tensor> features, places;
  for_each_batch(examples.inputs, 256, [&](const Inputs& part, const at::Tensor& rows) {
    features.push_back(in.network.architecture->features(in.base, in.network.ready(part), pooling));
    places.push_back(rows);
  });
  return {concatenate(features),
          examples.labels.index_select(0, sent(concatenate(places), in.network.device))};
}

int64_t outputs_of(const std::string& task, const ModelInput& in) {
  const TaskInfo& info = in.pack.task(task);
  return task_kind(info.kind).outputs(static_cast<int64_t>(info.class_names.size()));
}

TrainedTask trained_task(const std::string& task, Split train, const Tuning& options, const ModelInput& in) {
  const TaskInfo& info = in.pack.task(task);
  const TaskKind* kind = &task_kind(info.kind);
  const int64_t batch = in.kind == ZooItem::Kind::kExpert ? options.expert_batch : options.multitask_batch;
  if (train.images.defined()) {
    const LabelledTask labelled{task, static_cast<int64_t>(info.class_names.size()), train.images,
                                train.labels};
    const auto batches =
        std::make_shared<TaskBatches>(labelled, batch, options.max_shift, in.seed, in.network.device);
    return {task, kind, [batches](int64_t step) -> Examples {
              ImageBatch at_step = batches->at(step);
              return {{at_step.pixels, {}, {}}, at_step.labels};
            }};
  }
  const auto batches = std::make_shared<TokenTaskBatches>(task, std::move(train), *in.pack.tokens(), batch,
                                                          in.seed, in.network.device);
  return {task, kind, [batches](int64_t) { return batches->next(); }};
}

std::vector<TrainedTask> trained_tasks(const Tuning& options, const ModelInput& in) {
  std::vector<TrainedTask> tasks;
  for (const std::string& task : in.tasks) {
    tasks.push_back(trained_task(task, in.pack.read(task, "train"), options, in));
  }
  return tasks;
}

Schedule schedule_of(const Tuning& options, ZooItem::Kind kind) {
  const int64_t steps = kind == ZooItem::Kind::kExpert ? options.expert_steps : options.multitask_steps;
  return warmed_schedule(steps, options.expert_lr);
}

// Trains under these heads, which are the model's; the groups may have them among their tensors.
MadeModel train_under(const std::map<std::string, AffineHead>& heads, const Trainee& trainee,
                      const std::vector<TrainedGroup>& groups, const Tuning& options, Pooling pooling,
                      const ModelInput& in) {
  Network network = in.network;
  MadeModel made;
  for (const auto& [task, head] : heads) {
    network.readouts[task] = affine_readout(head.weight, head.bias, pooling);
    // the same numbers, which training may change
    made.heads.emplace(task + ".weight", head.weight.detach());
    made.heads.emplace(task + ".bias", head.bias.detach());
  }
  made.weights = fusegrid::train(network, trainee, trained_tasks(options, in), groups,
                                 schedule_of(options, in.kind), in.on_step);
  return made;
}

MadeModel fine_tune_jointly(const FineTuning& options, Pooling pooling, const ModelInput& in) {
  const Trainee trainee = make_trainee(in.base, names_of(in.base));
  TrainedGroup trained{.tensors = {}, .rate_factor = options.head_lr_factor};
  std::map<std::string, AffineHead> heads;
  for (const std::string& task : in.tasks) {
    const AffineHead head = first_head(task, outputs_of(task, in), in);
    trained.tensors.insert(trained.tensors.end(), {head.weight, head.bias});
    heads.emplace(task, head);
  }
  return train_under(heads, trainee, {{.tensors = trainee.trained}, trained}, options, pooling, in);
}

}  // namespace

void check_fine_tuning(const std::string& recipe, const FineTuning& options, const TaskPack& pack,
                       const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    const std::string what = "task '" + task + "' of '" + pack.path().string() + "'";
    if (info.longest_row == 0) {
      throw ConfigError("the recipe " + recipe + " trains on tokens, but " + what +
                        " has images; choose another pack or another recipe");
    }
    const TaskKind& kind = task_kind(info.kind);
    if (kind.has_tokens()) {
      throw ConfigError("the recipe " + recipe + " trains heads, but " + what + " is of the kind " +
                        info.kind + ", whose answers are tokens; choose another pack or another recipe");
    }
    if (options.head == "probe" && !kind.has_classes()) {
      throw ConfigError("probes are heads of classes, but " + what + " is of the kind " + info.kind +
                        "; leave head=probe out");
    }
  }
}

MadeModel fine_tune(const FineTuning& options, Pooling pooling, const ModelInput& in) {
  if (options.head == "joint") {
    return fine_tune_jointly(options, pooling, in);
  }
  std::map<std::string, AffineHead> heads;
  for (const std::string& task : in.tasks) {
    heads.emplace(task, fit_probe({task}, pooling, in));
  }
  return fine_tune(options, pooling, heads, in);
}

AffineHead fit_probe(const std::vector<std::string>& tasks, Pooling pooling, const ModelInput& in) {
  std::vector<at::Tensor> features, labels;
  for (const std::string& task : tasks) {
    const auto [of_task, their_labels] = base_features(in.pack.read(task, "train"), pooling, in);
    features.push_back(of_task);
    labels.push_back(their_labels);
  }
  return fit_probe(concatenate(features), concatenate(labels), outputs_of(tasks.at(0), in));
}

MadeModel fine_tune(const Tuning& options, Pooling pooling, const std::map<std::string, AffineHead>& heads,
                    const ModelInput& in) {
  const Trainee trainee = make_trainee(in.base, layer_matrices(*in.network.architecture));
  return train_under(heads, trainee, {{.tensors = trainee.trained}}, options, pooling, in);
}

MadeModel fine_tune(const Tuning& options, const std::set<std::string>& trained, const ModelInput& in) {
  const Trainee trainee = make_trainee(in.base, trained);
  return {.weights =
              fusegrid::train(in.network, trainee, trained_tasks(options, in), {{.tensors = trainee.trained}},
                              schedule_of(options, in.kind), in.on_step)};
}

MadeModel fine_tune(const Tuning& options, const AdapterTuning& adapter, const ModelInput& in) {
  return train_adapter(adapter, in, trained_tasks(options, in), schedule_of(options, in.kind));
}

int64_t rows_seen(const Tuning& options, ZooItem::Kind kind, int64_t tasks) {
  return kind == ZooItem::Kind::kMultitask ? options.multitask_steps * options.multitask_batch * tasks
                                           : options.expert_steps * options.expert_batch;
}

}  // namespace fusegrid
