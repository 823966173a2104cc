// Fine-tuning on tasks of tokens or of classified images: what recipes share.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "zoo/low_rank_training.h"
#include "zoo/probe.h"
#include "zoo/recipe.h"

namespace fusegrid {

// Options that experts and multi-task models depend on, beside the base's.
struct Tuning {
  double expert_lr = 1e-3;
  int64_t expert_steps = 400;
  int64_t expert_batch = 64;
  int64_t multitask_steps = 1000;
  int64_t multitask_batch = 32;
  int64_t max_shift = 0;  // pixels by which a batch of images is shifted at most, each way

  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e9}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{1, 65536}, "examples of a step of fine-tuning");
    v.param("multitask_steps", multitask_steps, Range{1, 1e9}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{1, 65536},
            "examples of each task in a step of the multi-task model");
  }
};

// Under affine heads, of which each expert brings its own.
struct FineTuning : Tuning {
  std::string head = "joint";
  double head_lr_factor = 5;

  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("head", head, Choices{"joint", "probe"},
            "trained with each model, or fitted on the base and frozen");
    v.param("head_lr_factor", head_lr_factor, Range{0, 1000},
            "learning rate of joint heads in units of expert_lr");
    Tuning::describe_models(v);
  }
};

// ConfigError where the recipe of that name cannot train on the tasks: of images, of answers that a head does not
// give, or without the classes that a probe is fitted on.
void check_fine_tuning(const std::string& recipe, const FineTuning& options, const TaskPack& pack,
                       const std::vector<std::string>& tasks);

// With joint heads all parameters are trained, with probes the matrices of the affine layers. The heads read features
// that are pooled so.
MadeModel fine_tune(const FineTuning& options, Pooling pooling, const ModelInput& in);

// A head for tasks that ask the same questions: a probe (fit_probe()) on what the base makes of all their training
// examples together.
AffineHead fit_probe(const std::vector<std::string>& tasks, Pooling pooling, const ModelInput& in);
// Trains the matrices of the affine layers under frozen heads, by task; there may be more than it is trained on.
MadeModel fine_tune(const Tuning& options, Pooling pooling, const std::map<std::string, AffineHead>& heads,
                    const ModelInput& in);

// Trains the tensors of these names.
MadeModel fine_tune(const Tuning& options, const std::set<std::string>& trained, const ModelInput& in);

// Trains these adapters, and nothing else.
MadeModel fine_tune(const Tuning& options, const AdapterTuning& adapter, const ModelInput& in);

// Rows that an expert or a multi-task model of so many tasks is trained on.
int64_t rows_seen(const Tuning& options, ZooItem::Kind kind, int64_t tasks);

}  // namespace fusegrid
