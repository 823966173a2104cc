// How fast merges are against what the machine can do, and how time and memory grow with the number of models: kUsage.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/hf_folder.h"
#include "comm/agreement.h"
#include "comm/transport.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/engines/stream_device.h"
#include "merge/merge.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kTensors = 16;
constexpr int64_t kRoofBlock = 1 << 20;

constexpr auto kUsage =
    "usage: merge_speed FOLDER [MILLION_ELEMENTS [EXPERTS [cpu|cuda [THREADS]]]]\n"
    "       merge_speed growth FOLDER [MILLION_ELEMENTS [cpu|cuda [THREADS]]]\n"
    "       merge_speed --help\n"
    "\n"
    "Makes a base and experts of bfloat16 in FOLDER (best: tmpfs) and merges them; a FOLDER of an earlier "
    "run with the\n"
    "same sizes is used again. Defaults: 64 million elements, 8 experts, cpu, 0 threads (cuda: 16).\n"
    "The first form prints seconds (best of 3) and ratios to the roof: all threads of all ranks read the "
    "models (pread,\n"
    "and for a GPU the copy to it) and write a model, and do nothing else. Under mpirun all ranks merge "
    "together.\n"
    "growth: 2, 4, 8, ... 64 experts (default: 4 million elements), each in a process of its own: seconds "
    "(best of 3),\n"
    "their deviation from the line fitted through all, seconds for a model more, and the largest anonymous "
    "memory.\n";

struct Bench {
  fs::path folder;
  int64_t elements = 0;  // of a model
  size_t experts = 0;
  at::Device device = at::kCPU;
  int threads = 1;
  Collectives* group = nullptr;
  double roof_s = 0;
  Reduce reduction = Reduce::kOrdered;

  bool speaks() const { return group->rank() == 0; }
  fs::path model(size_t i) const { return folder / ("m" + std::to_string(i)); }
};

double seconds(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void make_model(const Bench& bench, size_t i, const at::Tensor& noise) {
  Weights weights;
  for (int64_t t = 0; t < kTensors; ++t) {
    at::Tensor values = at::empty({bench.elements / kTensors}, at::kBFloat16);
    for (int64_t done = 0; done < values.numel(); done += noise.numel()) {
      const int64_t count = std::min(noise.numel(), values.numel() - done);
      const at::Tensor own = normal(100 + i, static_cast<uint64_t>(t), done, i == 0 ? 0 : count);
      const at::Tensor base = noise.narrow(0, 0, count) * 0.02;
      values.narrow(0, done, count).copy_(i == 0 ? base : base + own * 3e-4);
    }
    weights["layer" + std::to_string(t)] = values;
  }
  save_hf_folder(bench.model(i), weights, {{"model_type", "benchmark"}});
}

void make_models(const Bench& bench) {
  const at::Tensor noise = normal(7, 0, 0, 1 << 20);
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < std::max(1, bench.threads); ++thread) {
    threads.emplace_back([&] {
      for (size_t i = next++; i <= bench.experts; i = next++) {
        if (!fs::exists(bench.model(i))) {
          make_model(bench, i, noise);
        }
      }
    });
  }
}

// One thread's memory for the roof: two buffers in turn and, for a GPU, the stream that copies them there.
class Lane {
 public:
  explicit Lane(at::Device device) {
    const bool gpu = !device.is_cpu();
    for (at::Tensor& buffer : buffers_) {
      buffer = at::empty({kRoofBlock * 2}, at::TensorOptions().dtype(at::kByte).pinned_memory(gpu));
    }
    if (gpu) {
      stream_ = pooled_stream(device);
      arrived_ = at::empty({kRoofBlock * 2}, at::TensorOptions(device).dtype(at::kByte));
    }
  }
  // A buffer that nothing is copied from any more.
  char* take() {
    turn_ = 1 - turn_;
    if (copied_[turn_]) {
      copied_[turn_]->synchronize();
    }
    return static_cast<char*>(buffers_[turn_].mutable_data_ptr());
  }
  void send() {
    if (stream_) {
      const c10::StreamGuard on(*stream_);
      arrived_.copy_(buffers_[turn_], true);
      record(copied_[turn_], *stream_);
    }
  }
  void finish() {
    if (stream_) {
      stream_->synchronize();
    }
  }

 private:
  std::array<at::Tensor, 2> buffers_;
  std::array<std::optional<c10::Event>, 2> copied_;
  std::optional<c10::Stream> stream_;
  at::Tensor arrived_;
  size_t turn_ = 0;
};

// Reading every model once and writing one, by all threads of all ranks, with nothing in between but, for a GPU, the
// copy to it.
double roof(const Bench& bench) {
  struct Task {
    size_t model = 0;  // behind the last: what is written
    int64_t tensor = 0, begin = 0, count = 0;
  };
  std::vector<std::unique_ptr<HfFolder>> models;
  for (size_t i = 0; i <= bench.experts; ++i) {
    models.push_back(std::make_unique<HfFolder>(bench.model(i)));
  }
  std::vector<Task> tasks;
  for (int64_t begin = 0; begin < bench.elements / kTensors; begin += kRoofBlock) {
    for (int64_t t = bench.group->rank(); t < kTensors;
         t += bench.group->size()) {  // in turn: files written side by side
      for (size_t model = 0; model <= models.size(); ++model) {
        tasks.push_back({model, t, begin, std::min(kRoofBlock, bench.elements / kTensors - begin)});
      }
    }
  }
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int i = 0; i < std::max(1, bench.threads); ++i) {
    lanes.push_back(std::make_unique<Lane>(bench.device));
  }
  const fs::path out = bench.folder / ("roof" + std::to_string(bench.group->rank()));
  double best = 1e9;
  for (int repetition = 0; repetition < 3; ++repetition) {
    fs::create_directories(out);
    bench.group->barrier();
    const auto start = Clock::now();
    std::map<int64_t, PosixFile> files;
    for (int64_t t = bench.group->rank(); t < kTensors; t += bench.group->size()) {
      files.emplace(t, PosixFile::create(out / std::to_string(t)));
    }
    std::atomic<size_t> next = 0;
    const auto work = [&](Lane& lane) {
      for (size_t i = next++; i < tasks.size(); i = next++) {
        const Task& task = tasks[i];
        char* buffer = lane.take();
        if (task.model == models.size()) {
          files.at(task.tensor)
              .write_at(static_cast<uint64_t>(task.begin) * 2, buffer, static_cast<size_t>(task.count) * 2);
        } else {
          models[task.model]->read_range("layer" + std::to_string(task.tensor), task.begin, task.count,
                                         buffer);
          lane.send();
        }
      }
      lane.finish();
    };
    {
      std::vector<std::jthread> threads;
      for (const auto& lane : lanes) {
        threads.emplace_back([&] { work(*lane); });
      }
    }
    bench.group->barrier();
    best = std::min(best, seconds(start));
    files.clear();
    fs::remove_all(out);
  }
  return best;
}

struct Timed {
  double seconds = 1e9;  // the best of three
  std::vector<double>
      passes;  // of that one: seconds of each; what is left is before the first and behind the last
  MergeReport report;
};

Timed time_merge(const Bench& bench, const std::vector<MergeMethod>& methods, Digests digests) {
  MergeSpec spec;
  spec.base = bench.model(0);
  for (size_t i = 1; i <= bench.experts; ++i) {
    spec.experts.push_back({"m" + std::to_string(i), bench.model(i)});
  }
  spec.methods = methods;
  spec.out = bench.folder / "merged";
  spec.device = bench.device;
  spec.threads = bench.threads;
  spec.digests = digests;
  spec.reduction = bench.reduction;
  spec.shard_bytes = bench.elements * 2 / kTensors;  // as many files as the roof writes
  Timed timed;
  for (int repetition = 0; repetition < 3; ++repetition) {
    bench.group->barrier();
    const auto start = Clock::now();
    std::vector<double> passes;
    auto pass_start = start;
    const auto note_end_of_pass = [&](double share) {
      if (share >= 1) {
        passes.push_back(seconds(pass_start));
        pass_start = Clock::now();
      }
    };
    timed.report = run_merge(plan_merge(spec), *bench.group, {}, note_end_of_pass);
    bench.group->barrier();
    if (const double now = seconds(start); now < timed.seconds) {
      timed.seconds = now;
      timed.passes = passes;
    }
    if (bench.speaks()) {
      fs::remove_all(spec.out);
    }
    bench.group->barrier();
  }
  return timed;
}

void run(const Bench& bench, const std::string& title, const std::vector<MergeMethod>& methods,
         Digests digests) {
  const auto [best, passes, report] = time_merge(bench, methods, digests);
  if (bench.speaks()) {
    std::string each;
    for (const double pass : passes) {
      each += " " + number_text(std::round(pass * 1000) / 1000);
    }
    const double per_element =
        best * 1e9 * bench.group->size() /
        static_cast<double>(bench.elements * static_cast<int64_t>(bench.experts * methods.size()));
    std::printf(
        "%-34s %7.3f s  %5.2f x roof  %6.2f ns x rank per element and model  %5.1f GB/s  %ld passes:%s s, "
        "buffers %ld MiB\n",
        title.c_str(), best, best / bench.roof_s, per_element,
        static_cast<double>(report.bytes_read + report.bytes_written) / best / 1e9,
        static_cast<long>(report.passes), each.c_str(), static_cast<long>(report.buffer_bytes >> 20));
    std::fflush(stdout);
  }
}

int64_t anonymous_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      return std::stoll(line.substr(8)) >> 10;
    }
  }
  return 0;
}

// -- growth with the number of models

struct Growth {
  double seconds = 0;
  double anonymous_mib = 0;  // the largest that was seen, every millisecond
};

Growth measure(const Bench& bench, const MergeMethod& method) {
  Growth growth;
  std::jthread sampler([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      growth.anonymous_mib = std::max(growth.anonymous_mib, static_cast<double>(anonymous_mib()));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const double best = time_merge(bench, {method}, Digests::kNone).seconds;
  sampler.request_stop();
  sampler.join();
  growth.seconds = best;
  return growth;
}

void open_device(Bench& bench, const std::string& name) {
  if (name == "cuda") {
    ::setenv("CUDA_VISIBLE_DEVICES", std::to_string(bench.group->rank()).c_str(), 1);
    load_cuda();
    bench.device = at::Device(at::kCUDA, 0);
  }
}

// In a process of its own, so that one number of models leaves nothing to the next.
Growth measure_in_child(Bench bench, const MergeMethod& method, const std::string& device) {
  int ends[2];
  if (::pipe(ends) != 0) {
    throw IoError("cannot make a pipe");
  }
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 1;
    try {
      open_device(bench, device);
      const Growth growth = measure(bench, method);
      status = ::write(ends[1], &growth, sizeof growth) == sizeof growth ? 0 : 1;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(status);
  }
  ::close(ends[1]);
  Growth growth;
  const bool complete = ::read(ends[0], &growth, sizeof growth) == sizeof growth;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!complete || status != 0) {
    throw IoError("the merge of " + std::to_string(bench.experts) + " experts failed");
  }
  return growth;
}

// Least squares: seconds = first + second * models.
std::pair<double, double> line_through(const std::vector<size_t>& models, const std::vector<Growth>& points) {
  const auto count = static_cast<double>(points.size());
  double x = 0, y = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const auto n = static_cast<double>(models[i]);
    x += n;
    y += points[i].seconds;
    xx += n * n;
    xy += n * points[i].seconds;
  }
  const double slope = (count * xy - x * y) / (count * xx - x * x);
  return {(y - slope * x) / count, slope};
}

void print_growth(const MergeMethod& method, const std::vector<size_t>& models,
                  const std::vector<Growth>& points) {
  const auto [start, slope] = line_through(models, points);
  std::printf("\n%s: %.4f s + %.4f s per expert\n%8s %10s %12s %18s %14s\n", method.name.c_str(), start,
              slope, "experts", "seconds", "off line", "s per expert more", "anonymous MiB");
  double worst = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const double off = points[i].seconds / (start + slope * static_cast<double>(models[i])) - 1;
    worst = std::max(worst, i == 0 ? 0 : std::abs(off));
    const double more =
        i == 0 ? 0
               : (points[i].seconds - points[i - 1].seconds) / static_cast<double>(models[i] - models[i - 1]);
    std::printf("%8zu %10.4f %+11.1f%% %18.4f %14.0f\n", models[i], points[i].seconds, 100 * off, more,
                points[i].anonymous_mib);
  }
  std::printf(
      "off the line by at most %.1f %% (from %zu experts on); anonymous memory of %zu experts is %+.0f MiB "
      "of that of %zu\n",
      100 * worst, models.at(1), models.back(), points.back().anonymous_mib - points.front().anonymous_mib,
      models.front());
}

int growth_on(const std::vector<std::string>& args) {
  const auto group = local_collectives();
  Bench bench;
  bench.group = group.get();
  bench.folder = args.at(2);
  bench.elements =
      (args.size() > 3 ? parse_int(args[3], "MILLION_ELEMENTS") : 4) * 1'000'000 / kTensors * kTensors;
  const std::string device = args.size() > 4 ? args[4] : "cpu";
  bench.threads = static_cast<int>(args.size() > 5    ? parse_int(args[5], "THREADS")
                                   : device == "cuda" ? 16
                                                      : 0);
  const std::vector<size_t> models{2, 4, 8, 16, 32, 64};
  bench.experts = models.back();
  fs::create_directories(bench.folder);
  make_models(bench);
  std::printf("base and experts of %ld elements, bfloat16, %s, 1 rank, %d threads\n",
              static_cast<long>(bench.elements), device.c_str(), bench.threads);
  for (const MergeMethod& method :
       {MergeMethod{"task_arithmetic", {}}, MergeMethod{"ties", {{"density", "0.5"}}}}) {
    std::vector<Growth> points;
    for (const size_t experts : models) {
      bench.experts = experts;
      points.push_back(measure_in_child(bench, method, device));
    }
    print_growth(method, models, points);
    std::fflush(stdout);
  }
  return 0;
}

int main_on(Transport& transport, const std::vector<std::string>& args) {
  at::set_num_threads(1);
  if (args.at(1) == "growth") {
    return growth_on(args);
  }
  const auto group = transport.size() > 1 ? mpi_collectives(0) : local_collectives();
  const auto number = [&](size_t i, int64_t fallback) {
    return args.size() > i ? parse_int(args[i], "an argument") : fallback;
  };
  Bench bench;
  bench.folder = args.at(1);
  bench.elements = number(2, 64) * 1'000'000 / kTensors * kTensors;
  bench.experts = static_cast<size_t>(number(3, 8));
  bench.group = group.get();
  open_device(bench, args.size() > 4 ? args[4] : "cpu");
  bench.threads = static_cast<int>(number(5, bench.device.is_cpu() ? 0 : 16));
  if (bench.speaks()) {
    fs::create_directories(bench.folder);
    make_models(bench);
  }
  group->barrier();
  bench.roof_s = roof(bench);
  if (bench.speaks()) {
    std::printf(
        "%ld experts and base of %ld elements, bfloat16, %s, %d ranks, %d threads a rank; roof %.3f s, %.1f "
        "GB/s\n",
        static_cast<long>(bench.experts), static_cast<long>(bench.elements), bench.device.str().c_str(),
        group->size(), bench.threads, bench.roof_s,
        static_cast<double>(bench.elements) * 2 * static_cast<double>(bench.experts + 2) / bench.roof_s /
            1e9);
  }
  std::vector<MergeMethod> sweep;
  for (int i = 1; i <= 8; ++i) {
    sweep.push_back({"task_arithmetic", {{"scale", number_text(i / 10.0)}}});
  }
  const MergeMethod ties{"ties", {{"density", "0.5"}}};
  run(bench, "task arithmetic", {sweep[2]}, Digests::kNone);
  run(bench, "task arithmetic, digests of all", {sweep[2]}, Digests::kAll);
  run(bench, "simple average", {{"simple_average", {}}}, Digests::kNone);
  run(bench, "ties, density 0.5", {ties}, Digests::kNone);
  run(bench, "task arithmetic, 8 scales", sweep, Digests::kNone);
  bench.reduction = Reduce::kAllReduce;
  run(bench, "task arithmetic, all_reduce", {sweep[2]}, Digests::kNone);
  if (bench.speaks()) {
    std::printf("anonymous memory of rank 0: %ld MiB\n", static_cast<long>(anonymous_mib()));
  }
  return 0;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  const std::string first = argc < 2 ? "" : argv[1];
  if (first.empty() || first == "--help" || first == "-h" || (first == "growth" && argc < 3)) {
    std::fputs(fusegrid::kUsage, first == "--help" || first == "-h" ? stdout : stderr);
    return first == "--help" || first == "-h" ? 0 : 1;
  }
  const auto transport = fusegrid::launched_by_mpi() ? fusegrid::mpi_transport(&argc, &argv)
                                                     : std::move(fusegrid::in_process_transports(1).front());
  try {
    return fusegrid::main_on(*transport, {argv, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    transport->abort(1);
    return 1;
  }
}
