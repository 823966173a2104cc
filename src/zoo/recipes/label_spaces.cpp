// Classifiers of texts whose label sets differ, a guard among them (docs/design/label_spaces.md).
//
// Base:    those of the recipe text.
// Experts: all parameters and an affine head of the task's own labels; the multi-task model likewise, on all tasks.
// Source:  Hackmann, "HM3: Heterogeneous Multi-Class Model Merging", 2024, arXiv:2409.19173 (the setting).

#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"

namespace fusegrid::recipes::label_spaces {
namespace {

constexpr Pooling kPooling = Pooling::kMean;

struct Options : FineTuning {
  static Options of_scale(const std::string&) {
    Options options;
    options.expert_steps = 150;  // enough for definitions: docs/design/text_zoo.md
    options.multitask_steps = 400;
    return options;
  }
  template <typename Visitor>
  void describe_base(Visitor&) {}
};

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& tasks) {
  check_fine_tuning("label_spaces", options, pack, tasks);
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  return fine_tune(options, kPooling, in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  constexpr double kRowsASecond = 800;  // measured at the small scale
  return static_cast<double>(rows_seen(options, kind, tasks)) / kRowsASecond;
}

const RegisterRecipe<Options> registered{
    {.name = "label_spaces",
     .doc = "encoders of the layout of BERT that classify texts into different sets of labels",
     .scales = {{"small", "128 wide, 4 blocks: minutes on a CPU", "label_spaces"}},
     .pooling = kPooling,
     .heads = Heads::kOfExperts,
     .bases = "text"},
    {nullptr, check_pack, nullptr, nullptr, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::label_spaces
