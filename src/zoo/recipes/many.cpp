// Many experts of one small vision tower: thirty tasks of small images under probes (docs/design/many_zoo.md).
//
// Base:    that of the recipe embedded, of the scale of the same name.
// Heads:   of each task an affine probe, fitted on the base's features and frozen: so a task has a head whether or not
//          its expert is merged, and what a merge knows of a held-out task is measured under it.
// Experts: the matrices of the affine layers are trained under the frozen head. The multi-task model likewise, on all
//          tasks together.

#include "core/errors.h"
#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"

namespace fusegrid::recipes::many {
namespace {

struct Options : Tuning {
  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor&) {}
  template <typename Visitor>
  void describe_models(Visitor& v) {
    Tuning::describe_models(v);
    v.param("max_shift", max_shift, Range{0, 16}, "pixels by which a batch is shifted at most, each way");
  }
};

Options Options::of_scale(const std::string& /*scale*/) {
  Options options;
  options.expert_steps = 250;
  options.multitask_steps = 1500;
  options.multitask_batch = 4;
  options.max_shift = 1;
  return options;
}

void check_pack(const Options& /*options*/, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    if (info.kind != "classify" || info.image_height == 0) {
      throw ConfigError("the recipe many trains on classified images, but task '" + task + "' of '" +
                        pack.path().string() + "' is of the kind " + info.kind +
                        (info.image_height == 0 ? " with tokens" : " with images") +
                        "; choose another pack or another recipe");
    }
  }
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  std::map<std::string, AffineHead> heads;
  for (const std::string& task : in.tasks) {
    heads.emplace(task, fit_probe({task}, Pooling::kFirst, in));
  }
  return fine_tune(options, Pooling::kFirst, heads, in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  return static_cast<double>(rows_seen(options, kind, tasks)) / 2000.0;  // as measured of the recipe embedded
}

const RegisterRecipe<Options> registered{
    {.name = "many",
     .doc = "thirty experts of a base of the recipe embedded, each under a frozen probe of its task",
     .scales = {{"small", "64 wide, 4 blocks: minutes on a CPU", "embedded30"}},
     .pooling = Pooling::kFirst,
     .heads = Heads::kOfExperts,
     .bases = "embedded"},
    {nullptr, check_pack, nullptr, nullptr, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::many
