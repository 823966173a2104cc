// Checkpoints along one training run, in their order: what averages of a trajectory and snapshot ensembles are made of
// (docs/design/independent_zoos.md).
//
// Experts: stepN, the run after N steps. Every one is trained from the start, with the same first values and batches,
//          so that each can be made alone, and is a part of those behind it bit for bit.
// Rates:   a warm-up of a tenth of the budget, then the highest rate until .42 of the budget, linear to a low one at
//          .6 of it; from there it stays (SWA: Izmailov et al., UAI 2018, arXiv:1803.05407) or falls from that to a
//          fiftieth of it in every cycle (FGE: Garipov et al., NeurIPS 2018, arXiv:1802.10026). Checkpoints are taken
//          at the ends of the cycles.

#include <algorithm>

#include "core/philox.h"
#include "core/text.h"
#include "zoo/plain_training.h"

namespace fusegrid::recipes::trajectory {
namespace {

constexpr const char* kExpert = "step";

struct Options : PlainTraining {
  int64_t budget = 600;
  std::string tail = "constant";
  int64_t cycles = 8;
  double cycle = 0.05;
  double lr = 0.1;
  double low_lr = 0.025;

  static Options of_scale(const std::string& scale) {
    Options options;
    static_cast<PlainTraining&>(options) = plain_training_of(scale);
    options.weight_decay = 5e-4;
    options.budget = options.net == "mlp" ? 900 : 600;
    options.lr = options.net == "mlp" ? 0.05 : 0.1;
    options.low_lr = options.lr / 4;
    return options;
  }
  template <typename Visitor>
  void describe_base(Visitor&) {}
  template <typename Visitor>
  void describe_models(Visitor& v) {
    PlainTraining::describe(v);
    v.param("budget", budget, Range{20, 1e7}, "steps that a run alone would take");
    v.param("tail", tail, Choices{"constant", "cyclic"}, "the learning rate from .6 of the budget on");
    v.param("cycles", cycles, Range{1, 1000}, "checkpoints");
    v.param("cycle", cycle, Range{0.001, 10}, "steps from one to the next, in units of the budget");
    v.param("lr", lr, Range{0, 10}, "highest learning rate");
    v.param("low_lr", low_lr, Range{0, 10}, "learning rate from .6 of the budget on");
  }

  int64_t in_budget(double share) const { return static_cast<int64_t>(share * static_cast<double>(budget)); }
  int64_t first() const { return in_budget(0.6); }
  int64_t length() const { return std::max<int64_t>(in_budget(cycle), 1); }
  int64_t end_of(int64_t i) const { return first() + (i + 1) * length(); }
};

double rate_at(const Options& options, int64_t step) {
  const int64_t warmup = options.in_budget(0.1), high = options.in_budget(0.42), low = options.first();
  if (step < warmup) {
    return options.lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  if (step < high) {
    return options.lr;
  }
  if (step < low) {
    const double done = static_cast<double>(step - high) / static_cast<double>(low - high);
    return options.lr + done * (options.low_lr - options.lr);
  }
  if (options.tail == "constant") {
    return options.low_lr;
  }
  constexpr double kFall = 0.98;
  const double done =
      static_cast<double>((step - low) % options.length()) / static_cast<double>(options.length());
  return options.low_lr * (1 - kFall * done);
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  check_plain_pack("trajectory", pack, tasks);
}

TrainedTasks trained(const Options& options, const std::vector<std::string>&) {
  TrainedTasks all;
  for (int64_t i = 0; i < options.cycles; ++i) {
    all.experts.push_back(kExpert + std::to_string(options.end_of(i)));
  }
  return all;
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const int64_t steps = parse_int(in.expert.substr(std::string(kExpert).size()), "the steps of " + in.expert);
  return train_plainly(options, in, derive_key(in.seed, "trajectory"), steps,
                       [&](int64_t step) { return rate_at(options, step); });
}

double seconds(const Options& options, ZooItem::Kind, int64_t) {
  return plain_seconds(options, options.end_of(options.cycles - 1));
}

const RegisterRecipe<Options> registered{
    plain_card("trajectory", "checkpoints along one training run, in their order",
               {{"mlp256", "three layers of 256 units: seconds on a CPU", "fashion"},
                {"vgg8", "convolutions of 8 to 32 channels: half a minute a checkpoint on a CPU", "fashion"},
                {"vgg16", "convolutions of 16 to 64 channels: a minute a checkpoint on a CPU", "fashion"}}),
    {.reads = plain_input,
     .check_pack = check_pack,
     .check_pool = nullptr,
     .make_base = nullptr,
     .make_model = make_model,
     .seconds = seconds,
     .trained = trained}};

}  // namespace
}  // namespace fusegrid::recipes::trajectory
