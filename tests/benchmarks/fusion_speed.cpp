// How fast methods fuse models that are in memory, beside what the same run copies.
//
//   fusion_speed [cpu | cuda:0 [MILLION_ELEMENTS [EXPERTS [ZOO]]]]
//
// First part: a merge from an empty cache. GB/s counts every model read once and every result written once, float32,
// whatever the method really reads; the roof is a copy between arrays of that size (read + write). On CPUs also with
// one merge per core at once, each of its own part of the models, as the grid's executors run; the roof likewise.
// Second part, with ZOO: a sweep of 11 scales through one cache, as the grid runs it, beside one merge of an empty
// cache, both with the evaluations (validation and test of all tasks) that belong to them.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/memory_engine.h"
#include "models/evaluation.h"
#include "worker/device.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kTensorElements = int64_t{1} << 22;
constexpr int kRepeats = 10;          // at most,
constexpr double kRepeatSeconds = 2;  // and no more once they took so long
constexpr int kScales = 11;
constexpr int64_t kBatch = 256;

struct Models {
  Weights base;
  std::vector<Weights> experts;
  std::vector<std::string> tasks;
  at::Device device = at::kCPU;
  int64_t elements = 0;
};

Models make_models(at::Device device, int64_t elements, int64_t experts) {
  Models models;
  models.device = device;
  models.elements = elements;
  const at::Tensor noise = normal(1, 0, 0, kTensorElements + experts);
  for (int64_t i = -1; i < experts; ++i) {
    Weights weights;
    for (int64_t done = 0; done < elements; done += kTensorElements) {
      const int64_t count = std::min(kTensorElements, elements - done);
      const at::Tensor base = noise.narrow(0, 0, count);
      const at::Tensor values = i < 0 ? base.clone() : base + noise.narrow(0, i + 1, count) * 0.01;
      weights["layer" + std::to_string(done / kTensorElements)] = values.to(device);
    }
    if (i < 0) {
      models.base = std::move(weights);
    } else {
      models.experts.push_back(std::move(weights));
      models.tasks.push_back("task" + std::to_string(i));
    }
  }
  return models;
}

// What the worker does (GridExecutor::fuse), with keys that need no digests.
FusedModel fuse(const Models& models, const std::string& call, StatisticsCache& cache) {
  static const Weights kNoBase;
  const auto [name, parameters] = parse_call(call);
  const Method& method = method_registry().at(name);
  FusionContext context;
  context.card = &method.card;
  context.cache = &cache;
  context.tasks = models.tasks;
  context.base = method.card.needs.contains(Need::kPretrained) ? &models.base : &kNoBase;
  context.base_key = context.base->empty() ? "" : "base";
  for (size_t i = 0; i < models.experts.size(); ++i) {
    context.experts.push_back(&models.experts[i]);
    context.expert_keys.push_back(models.tasks[i]);
  }
  MemoryEngine engine(*context.base, context.experts, models_key(context.base_key, context.expert_keys),
                      cache, [] {});
  context.engine = &engine;
  return method.fuse(FusionInput(context), parameters);
}

// Waits for what was asked of a device.
void finish(at::Device device) {
  if (!device.is_cpu()) {
    at::ones({1}, at::TensorOptions(device)).cpu();
  }
}

double seconds(at::Device device, const std::function<void()>& work) {
  finish(device);
  const auto start = Clock::now();
  work();
  finish(device);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The quickest of some rounds in which `threads` threads do their work at the same time, `work` given the thread.
double quickest(at::Device device, int threads, const std::function<void(int)>& work) {
  double best = 1e30;
  double spent = 0;
  for (int i = 0; i < kRepeats && spent < kRepeatSeconds; ++i) {
    const double time = seconds(device, [&] {
      if (threads == 1) {
        work(0);
        return;
      }
      std::vector<std::thread> all;
      for (int t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
          at::set_num_threads(1);
          const at::NoGradGuard no_gradients;
          work(t);
        });
      }
      for (auto& thread : all) {
        thread.join();
      }
    });
    best = std::min(best, time);
    spent += time;
  }
  return best;
}

// Bytes per second, read and written, of a copy of `elements` float32 by all threads together.
double copy_bandwidth(at::Device device, int threads, int64_t elements) {
  const at::Tensor from = at::ones({elements}, at::TensorOptions(device));
  const at::Tensor to = at::ones({elements}, at::TensorOptions(device));
  const int64_t part = elements / threads;
  const double time = quickest(device, threads, [&](int t) {
    if (device.is_cpu()) {
      std::memcpy(to.mutable_data_ptr<float>() + t * part, from.const_data_ptr<float>() + t * part,
                  static_cast<size_t>(part) * sizeof(float));
    } else {
      at::Tensor(to).copy_(from);
    }
  });
  return 2 * static_cast<double>(part * threads) * sizeof(float) / time;
}

struct Kernel {
  std::string call;
  size_t models = 0;  // 0: all
  bool per_task = false;
};

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> all{{"simple_average"},
                                       {"weighted_average"},
                                       {"task_arithmetic"},
                                       {"linear_interpolation", 2},
                                       {"slerp", 2},
                                       {"magmax"},
                                       {"ram"},
                                       {"model_stock"},
                                       {"ties"},
                                       {"dare"},
                                       {"dare_ties"},
                                       {"breadcrumbs"},
                                       {"sce"},
                                       {"emr", 0, true}};
  return all;
}

Models first_of(Models models, size_t count) {
  models.experts.resize(count == 0 ? models.experts.size() : count);
  models.tasks.resize(models.experts.size());
  return models;
}

// Each of `parts` by a thread of its own.
void measure_kernel(const Kernel& kernel, const std::vector<Models>& parts, double roof) {
  std::vector<Models> used;
  for (const Models& part : parts) {
    used.push_back(first_of(part, kernel.models));
  }
  const at::Device device = used[0].device;
  const double time = quickest(device, static_cast<int>(used.size()), [&](int t) {
    StatisticsCache cache(int64_t{1} << 40, "", device);
    fuse(used[static_cast<size_t>(t)], kernel.call, cache);
  });
  const auto sources = static_cast<double>(used[0].experts.size());
  const bool with_base = method_registry().at(kernel.call).card.needs.contains(Need::kPretrained);
  const double moved = sources + (with_base ? 1 : 0) + (kernel.per_task ? sources : 1);
  const auto elements = static_cast<double>(used[0].elements) * static_cast<double>(used.size());
  const double rate = moved * elements * sizeof(float) / time;
  std::printf("  %-22s %8.4f s  %7.1f GB/s  %6.2f x the time of a copy  %7.3f ns per element and model\n",
              kernel.call.c_str(), time, rate / 1e9, roof / rate, time * 1e9 / elements / sources);
  std::fflush(stdout);
}

void measure_kernels(at::Device device, int threads, int64_t elements, int64_t experts) {
  const double roof = copy_bandwidth(device, threads, elements);
  std::printf("%s, %d at once, %ld experts of %ld elements: copy %.1f GB/s\n", device.str().c_str(), threads,
              static_cast<long>(experts), static_cast<long>(elements), roof / 1e9);
  std::vector<Models> parts;
  for (int t = 0; t < threads; ++t) {
    parts.push_back(make_models(device, elements / threads, experts));
  }
  for (const Kernel& kernel : kernels()) {
    measure_kernel(kernel, parts, roof);
  }
}

std::string with_scale(const std::string& method, int i) {
  return method + "{scale=" + number_text(0.05 * i) + "}";
}

// Validation and test of all tasks.
double evaluation_seconds(const FusedModel& fused, const LoadedReplicate& zoo, const PackData& data,
                          const std::vector<std::string>& tasks) {
  return seconds(zoo.network.device, [&] {
    for (const auto& task : tasks) {
      for (const std::string split : {"val", "test"}) {
        const Examples examples = data.examples(task, split, -1);
        answer(
            zoo.network, examples.images, examples.labels, kBatch,
            [&](const at::Tensor& pixels) {
              return fused.predictor->logits(zoo.network, pixels, task, std::nullopt);
            },
            [] {});
      }
    }
  });
}

void measure_sweeps(const std::string& name, at::Device device) {
  const Zoo zoo = find_zoo(name);
  const LoadedReplicate loaded = load_replicate(zoo, zoo.replicates.front(), zoo.tasks, false, device);
  const PackData data(zoo.pack, device);
  Models models{loaded.base, {}, zoo.tasks, device, 0};
  for (const auto& task : zoo.tasks) {
    models.experts.push_back(loaded.experts.at(task));
  }
  std::printf("%s, sweep of %d scales\n", zoo.name.c_str(), kScales);
  for (const std::string method : {"task_arithmetic", "ties", "dare"}) {
    FusedModel fused;
    const double one = quickest(device, 1, [&](int) {
      StatisticsCache cache(int64_t{1} << 40, "", device);
      fused = fuse(models, with_scale(method, kScales), cache);
    });
    const double all = quickest(device, 1, [&](int) {
      StatisticsCache cache(int64_t{1} << 40, "", device);
      for (int i = 1; i <= kScales; ++i) {
        fused = fuse(models, with_scale(method, i), cache);
      }
    });
    const double evaluation = evaluation_seconds(fused, loaded, data, zoo.tasks);
    std::printf(
        "  %-16s one merge %.4f s, %d merges %.4f s (%.2f x), evaluation of one %.3f s; the sweep with its "
        "evaluations %.2f x (one merge + %d evaluations)\n",
        method.c_str(), one, kScales, all, all / one, evaluation,
        (all + kScales * evaluation) / (one + kScales * evaluation), kScales);
    std::fflush(stdout);
  }
}

int main_on(const std::vector<std::string>& args) {
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  const at::Device device(args.size() > 1 ? args[1] : "cpu");
  if (device.is_cuda()) {
    load_cuda();
  }
  const int64_t elements = (args.size() > 2 ? parse_int(args[2], "MILLION_ELEMENTS") : 32) * 1'000'000;
  const int64_t experts = args.size() > 3 ? parse_int(args[3], "EXPERTS") : 8;
  measure_kernels(device, 1, elements, experts);
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  if (device.is_cpu() && cores > 1) {
    measure_kernels(device, cores, elements, experts);
  }
  if (args.size() > 4) {
    measure_sweeps(args[4], device);
  }
  return 0;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  try {
    return fusegrid::main_on({argv, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\nusage: fusion_speed [cpu | cuda:0 [MILLION_ELEMENTS [EXPERTS [ZOO]]]]\n",
                 error.what());
    return 1;
  }
}
