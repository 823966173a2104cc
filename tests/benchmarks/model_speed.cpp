// Prints what evaluation and AdaMerging cost beside the passes through the model that they cannot do without,
// measured in the same run: evaluation over the bare forward pass of one batch as often, with the inputs on the
// device and with the inputs in the pack's file; an AdaMerging step over the forward and backward pass of its inputs;
// Gram matrices of all experts over forward passes and products of the same sizes; and Fisher diagonals over forward
// and backward passes of the same batches.
//
//   model_speed ZOO [cpu | cuda:0 [fp32 | tf32 | bf16 [EXAMPLES]]]
//
// ZOO: name or folder; make_clip_zoo makes a large one. EXAMPLES of each expert's statistics: 256.
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>

#include "core/text.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/whole_model/coefficients.h"
#include "fusion/whole_model/statistics.h"
#include "models/feeder.h"
#include "worker/device.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

constexpr int64_t kBatch = 256;
constexpr int kRepeats = 3;
constexpr int64_t kSteps = 30;

// `work` must end with its results on the host.
double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of some calls.
double quickest(const std::function<void()>& work) {
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    best = std::min(best, seconds(work));
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
  const AdaptationStream::Step next = AdaptationStream(in, options.batch, "model_speed").next();
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
  std::cout << "AdaMerging step: " << 1000 * step << " ms; forward and backward pass of its "
            << next.inputs.size() << " inputs " << 1000 * passes << " ms; ratio " << step / passes << '\n';
}

// Calls `work` with the owner's task of each expert, its weights and its first train inputs.
void for_each_expert(const LoadedReplicate& models, const PackData& data, const Zoo& zoo, int64_t examples,
                     const std::function<void(const std::string&, const Weights&, const Inputs&)>& work) {
  for (const auto& [task, expert] : zoo.owners(zoo.expert_names())) {
    work(task, models.experts.at(expert), data.examples(task, "train", examples).inputs);
  }
}

void measure_grams(const LoadedReplicate& models, const PackData& data, const Zoo& zoo, int64_t examples) {
  const Network& network = models.network;
  const PrecisionScope scope(network.precision);
  const double whole = seconds([&] {
    for_each_expert(models, data, zoo, examples,
                    [&](const std::string& task, const Weights& weights, const Inputs& x) {
                      gram_matrices(network, weights, task, data.kind(task), x, [] {}).begin()->second.cpu();
                    });
  });
  std::set<std::string> first_of_input;
  std::set<std::string> inputs;
  for (const Layer& layer : network.architecture->layers()) {
    if (inputs.insert(layer.input).second) {
      first_of_input.insert(layer.name);
    }
  }
  std::map<std::pair<int64_t, int64_t>, at::Tensor> rows_of_shape;
  const Pass products{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        if (first_of_input.contains(layer.name)) {
          const std::pair shape(x.numel() / x.size(-1), x.size(-1));
          at::Tensor& rows = rows_of_shape[shape];
          if (!rows.defined()) {
            rows = at::ones({shape.first, shape.second}, x.options().dtype(at::kDouble));
          }
          at::matmul(rows.t(), rows);
        }
        return at::linear(x, weight, bias);
      }};
  const double bare = seconds([&] {
    const at::NoGradGuard no_grad;
    for_each_expert(models, data, zoo, examples,
                    [&](const std::string& task, const Weights& weights, const Inputs& x) {
                      const Weights held = rounded(weights, network.precision);
                      const Asker output = asker_of(network, held, task);
                      at::Tensor last;
                      feed(network, x, kBatch, [&](const Inputs& ready, const at::Tensor&) {
                        last = network.features(held, data.kind(task).completed(ready, output), products);
                      });
                      last.cpu();
                    });
  });
  std::cout << "Gram matrices, " << to_string(network.precision) << ", " << examples
            << " inputs of each expert: " << whole << " s; forward passes and products " << bare
            << " s; ratio " << whole / bare << std::endl;
}

void measure_fisher(const LoadedReplicate& models, const PackData& data, const Zoo& zoo, int64_t examples) {
  constexpr int64_t kFisherBatch = 32;
  const Network& network = models.network;
  const PrecisionScope scope(network.precision);
  const double whole = seconds([&] {
    for_each_expert(
        models, data, zoo, examples, [&](const std::string& task, const Weights& weights, const Inputs& x) {
          fisher_diagonal(network, weights, task, data.kind(task), x, kFisherBatch, "batch_squared", [] {})
              .begin()
              ->second.cpu();
        });
  });
  const double bare = seconds([&] {
    const at::AutoGradMode with_gradients(true);
    for_each_expert(
        models, data, zoo, examples, [&](const std::string& task, const Weights& weights, const Inputs& x) {
          Weights leaves;
          for (const auto& [name, tensor] : weights) {
            leaves.emplace(name, tensor.detach().requires_grad_(at::isFloatingType(tensor.scalar_type())));
          }
          const Asker output = asker_of(network, leaves, task);
          feed(network, x, kFisherBatch, [&](const Inputs& ready, const at::Tensor&) {
            const Inputs completed = data.kind(task).completed(ready, output);
            data.kind(task).log_probabilities(output(completed, nullptr), completed).sum().backward();
            for (auto& [name, leaf] : leaves) {
              leaf.mutable_grad().reset();
            }
          });
          leaves.begin()->second.cpu();
        });
  });
  std::cout << "Fisher diagonals, " << to_string(network.precision) << ", " << examples
            << " inputs of each expert: " << whole << " s; forward and backward passes " << bare
            << " s; ratio " << whole / bare << std::endl;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  if (argc < 2) {
    std::cerr << "usage: model_speed ZOO [cpu | cuda:0 [fp32 | tf32 | bf16 [EXAMPLES]]]\n";
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
  const int64_t examples = argc > 4 ? parse_int(argv[4], "EXAMPLES") : 256;
  measure_grams(models, resident, zoo, examples);
  measure_fisher(models, resident, zoo, examples);
  return 0;
}
