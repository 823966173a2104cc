// Prints what evaluation and AdaMerging cost beside the passes through the model that they cannot do without,
// measured in the same run: evaluation over the bare forward pass of the same batches, an AdaMerging step
// over the forward and backward pass of its images.
//
//   model_speed ZOO [cpu | cuda:0]     (ZOO: name or folder)
#include <chrono>
#include <functional>
#include <iostream>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include "core/concatenate.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/whole_model/adaptation.h"
#include "models/evaluation.h"
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

void measure_evaluation(const LoadedReplicate& models, const PackData& data,
                        const std::vector<std::string>& tasks) {
  const Network& network = models.network;
  const auto features = [&](const at::Tensor& pixels) {
    return network.architecture->features(models.base, pixels);
  };
  std::vector<std::vector<at::Tensor>> ready;
  int64_t images = 0;
  for (const auto& task : tasks) {
    const Examples examples = data.examples(task, "test", -1);
    images += examples.images.size(0);
    ready.emplace_back();
    for (const at::Tensor& batch : examples.images.split(kBatch)) {
      ready.back().push_back(network.pixels(batch));
    }
  }
  const double bare = quickest([&] {
    const at::NoGradGuard no_grad;
    at::Tensor last;
    for (const auto& batches : ready) {
      for (const at::Tensor& pixels : batches) {
        last = features(pixels);
      }
    }
    last.cpu();
  });
  const double whole = quickest([&] {
    for (const auto& task : tasks) {
      const Examples examples = data.examples(task, "test", -1);
      answer(
          network, examples.images, examples.labels, kBatch,
          [&](const at::Tensor& pixels) { return network.logits(features(pixels), task); }, [] {});
    }
  });
  std::cout << "evaluation: " << images << " images, " << whole << " s; bare forward pass " << bare << " s; "
            << 100 * bare / whole << " % of its speed\n";
}

void measure_adamerging(const LoadedReplicate& models, const PackData& data,
                        const std::vector<std::string>& tasks) {
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
  context.tasks = tasks;
  context.base = &models.base;
  for (const auto& task : tasks) {
    context.experts.push_back(&models.experts.at(task));
    context.expert_keys.push_back(task);
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
  const at::Tensor pixels = TestStream(in, options.batch, "model_speed").next();
  const double passes =
      quickest([&] {
        const at::AutoGradMode with_gradients(true);
        for (int64_t i = 0; i < kSteps; ++i) {
          entropy_loss(in, models.network.architecture->features(leaves, pixels), options.batch).backward();
        }
        leaves.begin()->second.grad().cpu();
      }) /
      kSteps;
  std::cout << "AdaMerging step: " << 1000 * step << " ms; forward and backward pass of its "
            << pixels.size(0) << " images " << 1000 * passes << " ms; ratio " << step / passes << '\n';
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  if (argc < 2) {
    std::cerr << "usage: model_speed ZOO [cpu | cuda:0]\n";
    return 1;
  }
  at::set_num_threads(1);
  const at::Device device(argc > 2 ? argv[2] : "cpu");
  if (device.is_cuda()) {
    load_cuda();
  }
  const Zoo zoo = find_zoo(argv[1]);
  const LoadedReplicate models = load_replicate(zoo, zoo.replicates.front(), zoo.tasks, false, device);
  const PackData data(zoo.pack, device, 0);
  measure_evaluation(models, data, zoo.tasks);
  measure_adamerging(models, data, zoo.tasks);
  return 0;
}
