// Networks that were trained alike from different first values: no base in common, and all of them made for the same
// tasks. What averages, alignment and curves between minima are studied on (docs/design/independent_zoos.md).
//
// Experts: run0, run1, ...; run i of seed s has first values and batches of its own, and those of two seeds are
//          different. With classes=halves even runs see the first half of the classes alone and odd ones the second,
//          all under a head of all classes. With narrow=W one half of the runs is W wide, stored as networks of the
//          others' width whose further units are zero. Gradient descent with Nesterov momentum .9 (vit: AdamW), a
//          warm-up of a tenth and a cosine.

#include <algorithm>
#include <utility>

#include "core/descent.h"
#include "core/philox.h"
#include "core/text.h"
#include "zoo/plain_training.h"

namespace fusegrid::recipes::independent {
namespace {

constexpr const char* kExpert = "run";

struct Options : PlainTraining {
  int64_t runs = 3;
  int64_t steps = 900;
  double lr = 0.1;
  std::string classes = "all";
  int64_t narrow = 0;
  std::string narrow_runs = "odd";

  static Options of_scale(const std::string& scale) {
    Options options;
    static_cast<PlainTraining&>(options) = plain_training_of(scale);
    options.lr = options.net == "mlp" ? 0.05 : options.net == "vit" ? 5e-3 : 0.1;
    options.weight_decay = options.net == "vit" ? 0.05 : options.weight_decay;
    return options;
  }
  template <typename Visitor>
  void describe_base(Visitor&) {}
  template <typename Visitor>
  void describe_models(Visitor& v) {
    PlainTraining::describe(v);
    v.param("runs", runs, Range{2, 1000}, "models");
    v.param("steps", steps, Range{1, 1e7}, "steps of training");
    v.param("lr", lr, Range{0, 10}, "highest learning rate");
    v.param("classes", classes, Choices{"all", "halves"},
            "what a model is trained on: halves are of one model in turn");
    v.param("narrow", narrow, Range{0, 8192}, "width of one half of the runs; 0: all have the same");
    v.param("narrow_runs", narrow_runs, Choices{"odd", "even"}, "which half that is");
  }
};

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  check_plain_pack("independent", pack, tasks);
}

TrainedTasks trained(const Options& options, const std::vector<std::string>&) {
  TrainedTasks all;
  for (int64_t i = 0; i < options.runs; ++i) {
    all.experts.push_back(kExpert + std::to_string(i));
  }
  return all;
}

bool is_odd_run(const std::string& expert) {
  return parse_int(expert.substr(std::string(kExpert).size()), "the number of " + expert) % 2 == 1;
}

bool has_seen(const Options& options, const std::string& expert, int64_t label, int64_t classes) {
  return options.classes == "all" || (2 * label >= classes) == is_odd_run(expert);
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const auto rate = [&](int64_t step) {
    return learning_rate_at(step, options.steps, options.lr, std::max<int64_t>(options.steps / 10, 1));
  };
  const auto filter = [&](int64_t label, int64_t classes) {
    return has_seen(options, in.expert, label, classes);
  };
  PlainTraining training = options;
  const bool narrow = options.narrow > 0 && is_odd_run(in.expert) == (options.narrow_runs == "odd");
  if (narrow) {
    training.width = options.narrow;
  }
  MadeModel made = train_plainly(training, in, derive_key(in.seed, in.expert), options.steps, rate, filter);
  return narrow ? among_more_units(training, std::move(made), options.width) : made;
}

double seconds(const Options& options, ZooItem::Kind, int64_t) {
  return plain_seconds(options, options.steps);
}

const RegisterRecipe<Options> registered{
    plain_card("independent", "networks trained from different first values on one task",
               {{"mlp64", "three layers of 64 units: seconds on a CPU", "fashion"},
                {"mlp128", "three layers of 128 units: seconds on a CPU", "fashion"},
                {"mlp256", "three layers of 256 units: seconds on a CPU", "fashion"},
                {"mlp512", "three layers of 512 units: seconds on a CPU", "fashion"},
                {"vgg4", "convolutions of 4 to 16 channels: half a minute on a CPU", "fashion"},
                {"vgg8", "convolutions of 8 to 32 channels: half a minute on a CPU", "fashion"},
                {"vgg16", "convolutions of 16 to 64 channels: a minute on a CPU", "fashion"},
                {"vgg32", "convolutions of 32 to 128 channels: minutes on a CPU", "fashion"},
                {"vit32", "a transformer of two blocks, 32 wide: half a minute on a CPU", "fashion"},
                {"vit64", "a transformer of two blocks, 64 wide: half a minute on a CPU", "fashion"},
                {"resnet8", "ResNet-20 of 8 to 32 channels: a minute on a CPU", "fashion"},
                {"resnet16", "ResNet-20 of 16 to 64 channels: minutes on a CPU", "fashion"},
                {"resnet32", "ResNet-20 of 32 to 128 channels: on a GPU", "fashion"}}),
    {.reads = plain_input,
     .check_pack = check_pack,
     .check_pool = nullptr,
     .make_base = nullptr,
     .make_model = make_model,
     .seconds = seconds,
     .trained = trained,
     .has_seen = has_seen}};

}  // namespace
}  // namespace fusegrid::recipes::independent
