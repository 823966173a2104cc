// How fast methods fuse models that are in memory, beside what the same run copies.
//
//   fusion_speed [cpu | cuda:0 [MILLION_ELEMENTS [EXPERTS [ZOO]]]]
//
// First part: the passes over the models that element-wise methods are made of, one by one. GB/s counts what a pass
// reads and writes, float32; the roof is a copy between arrays as large as all experts together (read + write), of
// which caches hold little. On CPUs also with a process per core at once, each with its own part of the models, as the
// grid's executors run; the roof likewise.
// Second part: whole merges from an empty cache. GB/s counts every model read once and every result written once,
// whatever the method really reads.
// Third part, with ZOO: a sweep of 11 scales through one cache, as the grid runs it, beside one merge of an empty
// cache, both with the evaluations (validation and test of all tasks) that belong to them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/fusion_input.h"
#include "fusion/passes/agreeing_parts.h"
#include "fusion/passes/changed_entries.h"
#include "fusion/passes/sign_election.h"
#include "models/feeder.h"
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
  std::vector<std::string> names;
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
      models.names.push_back("task" + std::to_string(i));
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
  context.expert_names = models.names;
  context.base = method.card.needs.contains(Need::kPretrained) ? &models.base : &kNoBase;
  context.base_key = context.base->empty() ? "" : "base";
  for (size_t i = 0; i < models.experts.size(); ++i) {
    context.experts.push_back(&models.experts[i]);
    context.expert_keys.push_back(models.names[i]);
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

// The quickest of some rounds.
double quickest_round(at::Device device, const std::function<void()>& work) {
  double best = 1e30;
  double spent = 0;
  for (int i = 0; i < kRepeats && spent < kRepeatSeconds; ++i) {
    const double time = seconds(device, work);
    best = std::min(best, time);
    spent += time;
  }
  return best;
}

// The quickest round of the slowest of `processes` that all work at the same time, as the grid's executors do; `work`
// is given the process.
double quickest(at::Device device, int processes, const std::function<void(int)>& work) {
  if (processes == 1) {
    return quickest_round(device, [&] { work(0); });
  }
  const int kind = MAP_SHARED | MAP_ANONYMOUS;
  const size_t bytes = static_cast<size_t>(processes) * sizeof(double);
  auto* times = static_cast<double*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind, -1, 0));
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    children.push_back(fork());
    if (children.back() == 0) {
      times[p] = quickest_round(device, [&] { work(p); });
      _exit(0);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
      throw std::runtime_error("a process of the benchmark failed");
    }
  }
  const double slowest = *std::max_element(times, times + processes);
  munmap(times, bytes);
  return slowest;
}

// Bytes per second, read and written, of a copy of `elements` float32 by all processes together.
double copy_bandwidth(at::Device device, int processes, int64_t elements) {
  const at::Tensor from = at::ones({elements}, at::TensorOptions(device));
  const at::Tensor to = at::ones({elements}, at::TensorOptions(device));
  const int64_t part = elements / processes;
  const double time = quickest(device, processes, [&](int p) {
    if (device.is_cpu()) {
      std::memcpy(to.mutable_data_ptr<float>() + p * part, from.const_data_ptr<float>() + p * part,
                  static_cast<size_t>(part) * sizeof(float));
    } else {
      at::Tensor(to).copy_(from);
    }
  });
  return 2 * static_cast<double>(part * processes) * sizeof(float) / time;
}

struct Merge {
  std::string call;
  size_t models = 0;  // 0: all
  bool per_task = false;
};

const std::vector<Merge>& merges() {
  static const std::vector<Merge> all{{"simple_average"},
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
  models.names.resize(models.experts.size());
  return models;
}

// A pass over the base and N experts.
struct ModelPass {
  std::string name;
  double moved = 0;  // models read and written
  std::function<void(Engine&)> run;
};

std::vector<ModelPass> passes(size_t experts) {
  const auto n = static_cast<double>(experts);
  const auto writes = [](size_t outputs, const Engine::Fuse& fuse) {
    return [=](Engine& engine) { engine.map_slices(outputs, fuse); };
  };
  const auto writes_one = [&](const std::function<at::Tensor(const Slice&)>& make) {
    return writes(1, [=](const Slice& slice) { return std::vector{make(slice)}; });
  };
  const std::vector<double> weights(experts, 0.3);
  TrimmedElection election = untrimmed(experts);
  election.thresholds.assign(experts, 0.01F);
  const auto dropped = [](const Slice& slice) {
    auto vectors = slice.task_vector_views();
    for (size_t i = 0; i < vectors.size(); ++i) {
      vectors[i].drop = {i, slice.global_begin, 0.5, 2};
    }
    return vectors;
  };
  const auto thresholds = [=](Engine& engine) {
    kth_smallest(engine, Order::kMagnitudes, experts, {engine.num_elements() / 2}, &Slice::task_vector_views);
  };
  return {
      {"mean", n + 1, writes_one([](const Slice& s) { return mean_of(s.expert_views()); })},
      {"weighted sum", n + 1,
       writes_one([=](const Slice& s) { return weighted_sum_of(s.expert_views(), weights); })},
      {"sum of task vectors", n + 2,
       writes_one([](const Slice& s) { return sum_of(s.task_vector_views()); })},
      {"largest task vectors", n + 2,
       writes_one([](const Slice& s) { return largest_of(s.task_vector_views()); })},
      {"base and direction", 3,
       writes_one([](const Slice& s) { return add_scaled(s.base_view(), s.expert(0), 0.3); })},
      {"mean of changes", n + 2,
       writes_one([=](const Slice& s) { return mean_of_changes(s.task_vector_views(), 1e-5, weights); })},
      {"merge of the elected", n + 2,
       writes_one([=](const Slice& s) { return merge_elected(s.task_vector_views(), election, "sum"); })},
      {"thresholds", n + 1, thresholds},
      {"parts that agree", 2 * n + 2,
       writes(experts,
              [=](const Slice& s) {
                return add_agreeing_parts(s.base(), s.task_vector_views(), s.expert(0), weights, s.results);
              })},
      {"sum with random drops", n + 2,
       writes_one([=](const Slice& s) { return weighted_sum_of(dropped(s), weights); })},
  };
}

void print_rate(const std::string& name, double time, double bytes, double roof, double element_models) {
  const double rate = bytes / time;
  std::printf("  %-24s %8.4f s  %7.1f GB/s  %6.2f x the time of a copy  %7.3f ns per element and model\n",
              name.c_str(), time, rate / 1e9, roof / rate, time * 1e9 / element_models);
  std::fflush(stdout);
}

// Each of `parts` by a process of its own, here and below.
void measure_pass(const ModelPass& pass, const std::vector<Models>& parts, double roof) {
  const at::Device device = parts[0].device;
  const double time = quickest(device, static_cast<int>(parts.size()), [&](int p) {
    const Models& models = parts[static_cast<size_t>(p)];
    std::vector<const Weights*> experts;
    for (const Weights& expert : models.experts) {
      experts.push_back(&expert);
    }
    StatisticsCache cache(0, "", device);
    MemoryEngine engine(models.base, experts, "models", cache, [] {});
    pass.run(engine);
  });
  const auto elements = static_cast<double>(parts[0].elements) * static_cast<double>(parts.size());
  print_rate(pass.name, time, pass.moved * elements * sizeof(float), roof,
             elements * static_cast<double>(parts[0].experts.size()));
}

void measure_merge(const Merge& merge, const std::vector<Models>& parts, double roof) {
  std::vector<Models> used;
  for (const Models& part : parts) {
    used.push_back(first_of(part, merge.models));
  }
  const at::Device device = used[0].device;
  const double time = quickest(device, static_cast<int>(used.size()), [&](int p) {
    StatisticsCache cache(int64_t{1} << 40, "", device);
    fuse(used[static_cast<size_t>(p)], merge.call, cache);
  });
  const auto sources = static_cast<double>(used[0].experts.size());
  const bool with_base = method_registry().at(merge.call).card.needs.contains(Need::kPretrained);
  const double moved = sources + (with_base ? 1 : 0) + (merge.per_task ? sources : 1);
  const auto elements = static_cast<double>(used[0].elements) * static_cast<double>(used.size());
  print_rate(merge.call, time, moved * elements * sizeof(float), roof, elements * sources);
}

void measure_fusion(at::Device device, int processes, int64_t elements, int64_t experts) {
  const double roof = copy_bandwidth(device, processes, elements * experts);
  std::printf("%s, %d at once, %ld experts of %ld elements: copy %.1f GB/s\n", device.str().c_str(),
              processes, static_cast<long>(experts), static_cast<long>(elements), roof / 1e9);
  std::vector<Models> parts;
  for (int p = 0; p < processes; ++p) {
    parts.push_back(make_models(device, elements / processes, experts));
  }
  std::printf(" passes\n");
  for (const ModelPass& pass : passes(static_cast<size_t>(experts))) {
    measure_pass(pass, parts, roof);
  }
  std::printf(" merges\n");
  for (const Merge& merge : merges()) {
    measure_merge(merge, parts, roof);
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
        data.kind(task).answer(
            data.examples(task, split, -1),
            {.feed = feed_of(zoo.network),
             .output =
                 [&](const Inputs& ready, Memory*) {
                   return fused.predictor->output(zoo.network, ready, {task, std::nullopt});
                 },
             .batch = kBatch});
      }
    }
  });
}

void measure_sweeps(const std::string& name, at::Device device) {
  const Zoo zoo = find_zoo(name);
  const LoadedReplicate loaded =
      load_replicate(zoo, zoo.replicates.front(), zoo.expert_names(), false, device);
  const PackData data(zoo.pack, device, {});
  Models models{loaded.base, {}, zoo.expert_names(), device, 0};
  for (const auto& expert : models.names) {
    models.experts.push_back(loaded.experts.at(expert));
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
  measure_fusion(device, 1, elements, experts);
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  if (device.is_cpu() && cores > 1) {
    measure_fusion(device, cores, elements, experts);
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
