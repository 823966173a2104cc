// Prints what evaluation and AdaMerging cost beside the passes through the model that they cannot do without,
// measured in the same run: evaluation over the bare forward pass of one batch as often, with the inputs on the
// device and with the inputs in the pack's file, and an AdaMerging step over the forward and backward pass of its
// inputs.
//
//   model_speed ZOO [cpu | cuda:0 [fp32 | tf32 | bf16]]     (ZOO: name or folder; make_clip_zoo makes a large one)
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "fusion/engines/memory_engine.h"
#include "fusion/whole_model/adaptation.h"
#include "models/feeder.h"
#include "worker/device.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

constexpr int64_t kBatch = 256;
constexpr int kRepeats = 3;
constexpr int64_t kSteps = 30;

// Seconds of the quickest of some calls; `work` must end with its results on the host.
double quickest(const std::function<void()>& work) {
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Ready batches of the shapes that evaluation has, one of each shape with how often it occurs.
std::vector<std::pair<Inputs, int64_t>> batches_by_shape(const Network& network, const PackData& data,
                                                         const std::vector<std::string>& tasks) {
  std::map<std::pair<int64_t, int64_t>, size_t> known;
  std::vector<std::pair<Inputs, int64_t>> batches;
  for (const auto& task : tasks) {
    for_each_batch(data.examples(task, "test", -1).inputs, kBatch,
                   [&](const Inputs& part, const at::Tensor&) {
                     const std::pair shape(part.size(), part.tokens.defined() ? part.tokens.size(1) : 0);
                     const auto [entry, fresh] = known.emplace(shape, batches.size());
                     if (fresh) {
                       batches.emplace_back(network.ready(part), 0);
                     }
                     ++batches[entry->second].second;
                   });
  }
  return batches;
}

void measure_evaluation(const std::string& where, const LoadedReplicate& models, const PackData& data,
                        const std::vector<std::string>& tasks) {
  const Network& network = models.network;
  const PrecisionScope scope(network.precision);
  const Weights held = rounded(models.base, network.precision);
  const auto batches = batches_by_shape(network, data, tasks);
  int64_t inputs = 0;
  for (const auto& [batch, count] : batches) {
    inputs += batch.size() * count;
  }
  const double bare = quickest([&] {
    const at::NoGradGuard no_grad;
    at::Tensor last;
    for (const auto& [batch, count] : batches) {
      for (int64_t i = 0; i < count; ++i) {
        last = network.features(held, batch);
      }
    }
    last.cpu();
  });
  const double whole = quickest([&] {
    for (const auto& task : tasks) {
      data.kind(task).answer(
          data.examples(task, "test", -1),
          {.feed = feed_of(network), .output = asker_of(network, held, task), .batch = kBatch});
    }
  });
  const auto count = static_cast<double>(inputs);
  std::cout << "evaluation, " << to_string(network.precision) << ", " << where << ": " << inputs
            << " inputs, " << count / whole << " a second; bare forward pass " << count / bare
            << " a second; " << 100 * bare / whole << " % of its speed" << std::endl;
}

void measure_adamerging(const LoadedReplicate& models, const PackData& data, const Zoo& zoo) {
  MethodCard card;
  card.name = "model_speed";
  card.grain = Grain::kWholeModel;
  card.needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients};
  StatisticsCache cache(0, "", models.network.device);
  FusionContext context;
  context.card = &card;
  context.network = &models.network;
  context.data = &data;
  context.cache = &cache;
  context.expert_names = zoo.expert_names();
  context.owners = zoo.owners(context.expert_names);
  context.base = &models.base;
  for (const auto& expert : context.expert_names) {
    context.experts.push_back(&models.experts.at(expert));
    context.expert_keys.push_back(expert);
  }
  MemoryEngine engine(models.base, context.experts, "models", cache, [] {});
  context.engine = &engine;
  const FusionInput in(context);
  AdaptationOptions options;

  const auto adapt = [&](int64_t steps) {
    options.steps = steps;
    return quickest([&] {
      adapt_coefficients(in, options, Granularity::kTensor).predictor->weights().begin()->second.cpu();
    });
  };
  const double step = (adapt(2 * kSteps) - adapt(kSteps)) / kSteps;  // without set-up
  Weights leaves;
  for (const auto& [name, tensor] : models.base) {
    leaves.emplace(name, tensor.detach().clone().requires_grad_(true));
  }
  const TestStream::Step next = TestStream(in, options.batch, "model_speed").next();
  const double passes =
      quickest([&] {
        const at::AutoGradMode with_gradients(true);
        const PrecisionScope scope(models.network.precision);
        for (int64_t i = 0; i < kSteps; ++i) {
          entropy_loss(in, leaves, next.by_task, models.network.features(leaves, next.inputs)).backward();
        }
        leaves.begin()->second.grad().cpu();
      }) /
      kSteps;
  std::cout << "AdaMerging step: " << 1000 * step << " ms; forward and backward pass of its " << inputs.size()
            << " inputs " << 1000 * passes << " ms; ratio " << step / passes << '\n';
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  if (argc < 2) {
    std::cerr << "usage: model_speed ZOO [cpu | cuda:0 [fp32 | tf32 | bf16]]\n";
    return 1;
  }
  at::set_num_threads(1);
  const at::Device device(argc > 2 ? argv[2] : "cpu");
  if (device.is_cuda()) {
    load_cuda();
  }
  const Zoo zoo = find_zoo(argv[1]);
  LoadedReplicate models = load_replicate(zoo, zoo.replicates.front(), zoo.expert_names(), false, device);
  models.network.precision = parse_precision(argc > 3 ? argv[3] : "fp32");
  const PackData resident(zoo.pack, device, {.resident = int64_t{1} << 40});
  if (device.is_cuda()) {
    measure_evaluation("from the file", models, PackData(zoo.pack, device, {.resident = 0}), zoo.tasks);
  }
  measure_evaluation("on the device", models, resident, zoo.tasks);
  measure_adamerging(models, resident, zoo);
  return 0;
}
