// fusegrid merge: merges checkpoint folders, by all ranks of the job together.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <future>
#include <iostream>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/merge_job.h"
#include "cli/options.h"
#include "cli/print.h"
#include "cli/provenance.h"
#include "comm/agreement.h"
#include "core/digest.h"
#include "core/text.h"
#include "fusion/method.h"
#include "merge/manifest.h"
#include "merge/merge.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

constexpr int64_t kMostThreads = 16;  // that a rank starts by itself
constexpr double kAssumedRate = 1e9;  // bytes per second and rank, for the estimate

void add_limits(Options& options) {
  options.add()("memory-limit", po::value<std::string>()->value_name("SIZE"),
                "of a rank's buffers (default: 1G)");
  options.add()("threads", po::value<int>()->value_name("N"),
                "threads of a rank that read, and as many that write (default: by cores)");
  options.add()("device", po::value<std::string>()->value_name("KIND"), "auto, cpu or cuda (default: auto)");
  options.add()("seed", po::value<int64_t>()->value_name("N"),
                "of methods that draw random numbers (default: 0)");
  options.add()("digests", po::value<std::string>()->value_name("WHICH"),
                "tensors whose SHA-256 the manifest has: all, outputs, none (default: all)");
  options.add()("allow-vocabulary-mismatch",
                "experts may have more or fewer rows of embeddings than the base");
  options.add()("dry-run",
                "check everything, print bytes, passes, memory and time; read no weights, write nothing");
  options.add()("verify", po::value<std::string>()->value_name("DIR"),
                "hash a merged folder and compare its manifest");
  options.add()("quiet,q", "print errors only");
}

Options merge_options() {
  Options options("merge",
                  "Merges checkpoint folders (HuggingFace layout, safetensors) into a new one, streaming: "
                  "the memory of a rank "
                  "does not depend on the size of the models. Under mpirun all ranks work together, with the "
                  "same result. An "
                  "interrupted merge is continued by the same command. docs/merge.md tells more.",
                  {"fusegrid merge --method 'task_arithmetic{scale=0.3}' --base llama --expert math --expert "
                   "code --out merged",
                   "mpirun -n 8 fusegrid merge --method 'ties{density=0.5,scale=0.3}' --base llama --expert "
                   "math=ft/m1 \\",
                   "    --expert code=ft/c7 --out merged --dtype bfloat16 --shard-size 4G",
                   "fusegrid merge --job sweep.cfg --dry-run", "fusegrid merge --verify merged"});
  options.add()("method", po::value<Texts>()->value_name("M"),
                "name{parameter=value,...}; may be repeated: all read the models together");
  options.add()("base", po::value<std::string>()->value_name("DIR"),
                "the model that the experts were tuned from");
  options.add()("expert", po::value<Texts>()->value_name("[NAME=]DIR"),
                "a model to merge; repeat it. NAME: default is the folder's name");
  options.add()("out", po::value<std::string>()->value_name("DIR"),
                "the new folder; several methods: folders in it");
  options.add()("job", po::value<std::string>()->value_name("FILE"),
                "read all of this from a file (docs/merge.md)");
  options.add()("dtype", po::value<std::string>()->value_name("T"),
                "of the merged weights: bfloat16, float16, float32, float64 (default: the base's)");
  options.add()("shard-size", po::value<std::string>()->value_name("SIZE"),
                "most bytes of a weight file, as 4G or 500M (default: the base's files)");
  add_limits(options);
  return options;
}

at::ScalarType parse_dtype(const std::string& text) {
  static const std::map<std::string, at::ScalarType> kNames{
      {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}, {"float64", at::kDouble},
      {"bf16", at::kBFloat16},     {"fp16", at::kHalf},    {"fp32", at::kFloat},    {"fp64", at::kDouble}};
  const auto it = kNames.find(text);
  if (it == kNames.end()) {
    throw ConfigError("--dtype must be bfloat16, float16, float32 or float64, but it is '" + text + "'");
  }
  return it->second;
}

Digests parse_digests(const std::string& text) {
  static const std::map<std::string, Digests> kNames{
      {"all", Digests::kAll}, {"outputs", Digests::kOutputs}, {"none", Digests::kNone}};
  const auto it = kNames.find(text);
  if (it == kNames.end()) {
    throw ConfigError("--digests must be all, outputs or none, but it is '" + text + "'");
  }
  return it->second;
}

MergeExpert parse_expert(const std::string& text) {
  const size_t equals = text.find('=');
  // an existing folder may have a '=' in its name
  if (equals != std::string::npos && !std::filesystem::exists(text)) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  const auto path = (std::filesystem::path(text) / "").parent_path();
  return {path.filename().string(), path};
}

// Ranks on this host and the place of this one among them.
std::pair<int, int> place_on_host(Collectives& group, const std::string& host) {
  const auto hosts = all_gather_bytes(group, host);
  const auto before = std::count(hosts.begin(), hosts.begin() + group.rank(), host);
  return {static_cast<int>(before), static_cast<int>(std::count(hosts.begin(), hosts.end(), host))};
}

// Called before anything asks LibTorch for CUDA.
at::Device open_device(const std::string& setting, int index, int ranks) {
  const DeviceChoice choice = choose_device(setting, index, ranks, HostDevices::here());
  if (choice.device == "cpu") {
    return at::kCPU;
  }
  ::setenv("CUDA_VISIBLE_DEVICES", choice.visible_gpus.c_str(), 1);
  load_cuda();
  return {at::kCUDA, 0};
}

// Command line and job file, by option.
std::map<std::string, Texts> given_options(const Options& options, std::vector<MergeMethod>& methods) {
  std::map<std::string, Texts> given;
  if (options.has("job")) {
    MergeJob job = read_merge_job(options.get<std::string>("job"));
    given = std::move(job.settings);
    methods = std::move(job.methods);
  }
  for (const std::string key : {"method", "expert"}) {
    if (options.has(key)) {
      given[key] = options.get<Texts>(key);
    }
  }
  for (const std::string key : {"base", "out", "dtype", "shard-size", "memory-limit", "device", "digests"}) {
    if (options.has(key)) {
      given[key] = {options.get<std::string>(key)};
    }
  }
  if (options.has("allow-vocabulary-mismatch")) {
    given["allow-vocabulary-mismatch"] = {"true"};
  }
  if (options.has("seed")) {
    given["seed"] = {number_text(options.get<int64_t>("seed"))};
  }
  if (options.has("threads")) {
    given["threads"] = {number_text(int64_t{options.get<int>("threads")})};
  }
  return given;
}

using Given = std::map<std::string, Texts>;

std::string last(const Given& given, const std::string& key, const std::string& fallback) {
  const auto it = given.find(key);
  return it == given.end() || it->second.empty() ? fallback : it->second.back();
}

void read_models(Given& given, MergeSpec& spec) {
  for (const std::string& call : given["method"]) {
    auto [name, parameters] = parse_call(call);
    spec.methods.push_back({name, parameters});
  }
  if (spec.methods.empty()) {
    throw UsageError("'fusegrid merge' needs --method, such as --method 'task_arithmetic{scale=0.3}'");
  }
  if (given["expert"].empty()) {
    throw UsageError("'fusegrid merge' needs --expert DIR, once for every model to merge");
  }
  for (const std::string& expert : given["expert"]) {
    spec.experts.push_back(parse_expert(expert));
  }
  if (given.contains("base")) {
    spec.base = given["base"].back();
  }
  if (!given.contains("out")) {
    throw UsageError("'fusegrid merge' needs --out DIR, the folder to write");
  }
  spec.out = (std::filesystem::path(given["out"].back()) / "").parent_path();
}

// place: of this rank on its host, and how many ranks that has.
MergeSpec read_spec(const Options& options, const std::pair<int, int>& place) {
  MergeSpec spec;
  Given given = given_options(options, spec.methods);
  read_models(given, spec);
  if (given.contains("dtype")) {
    spec.dtype = parse_dtype(last(given, "dtype", ""));
  }
  if (given.contains("shard-size")) {
    spec.shard_bytes = parse_bytes(last(given, "shard-size", ""), "--shard-size");
  }
  spec.memory_limit_bytes = parse_bytes(last(given, "memory-limit", "1G"), "--memory-limit");
  spec.digests = parse_digests(last(given, "digests", "all"));
  spec.seed = static_cast<uint64_t>(parse_int(last(given, "seed", "0"), "--seed"));
  spec.allow_vocabulary_mismatch = last(given, "allow-vocabulary-mismatch", "false") == "true";
  const auto [index, ranks] = place;
  spec.device = open_device(last(given, "device", "auto"), index, ranks);
  const int64_t cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / ranks);
  const std::string by_cores = number_text(std::min(cores, kMostThreads));
  spec.threads = static_cast<int>(parse_int(last(given, "threads", by_cores), "--threads"));
  if (spec.threads < (spec.device.is_cpu() ? 0 : 1) || spec.threads > 1024) {
    throw ConfigError("--threads must lie in [0, 1024] (with a GPU, [1, 1024]), but it is " +
                      number_text(int64_t{spec.threads}));
  }
  return spec;
}

void print_plan(std::ostream& out, const MergePlan& plan, int ranks) {
  const double bytes = static_cast<double>(plan.read_bytes) * static_cast<double>(plan.passes) +
                       static_cast<double>(plan.write_bytes);
  Table table({"", ""});
  table.add({"models", (plan.models.base != nullptr ? "base and " : "") +
                           count_text(static_cast<int64_t>(plan.spec.experts.size()), "expert")});
  table.add({"tensors", number_text(static_cast<int64_t>(plan.inputs.reference().tensors().size()))});
  table.add({"passes over the models", number_text(plan.passes)});
  table.add({"to read", bytes_text(plan.read_bytes) + " a pass"});
  table.add({"to write",
             bytes_text(plan.write_bytes) + " in " +
                 count_text(static_cast<int64_t>(plan.outputs.size() * plan.layout.shards.size()), "file")});
  table.add({"memory per rank", bytes_text(plan.memory_bytes)});
  table.add({"ranks", number_text(int64_t{ranks})});
  table.add({"estimated time", duration_text(bytes / kAssumedRate / ranks) + " at 1 GB/s a rank"});
  out << table.text(false);
  for (const MergeOutput& output : plan.outputs) {
    const MergeMethod& call = plan.spec.methods[output.method];
    out << "  " << (plan.spec.out / output.folder).string() << "  <-  " << call.name << "{"
        << method_registry().at(call.name).canonical(call.parameters) << "}"
        << (output.task.empty() ? "" : " for " + output.task) << "\n";
  }
}

ExitCode verify(Invocation& in, const std::string& folder) {
  if (in.transport->rank() > 0) {
    return ExitCode::kOk;
  }
  bool equal = true;
  for (const VerifiedFolder& verified : verify_merged(folder)) {
    for (const auto& difference : verified.differences) {
      in.err << difference.folder.string() << ": tensor '" << difference.tensor << "' " << difference.what
             << "\n";
    }
    equal &= verified.differences.empty();
    in.out << verified.folder.string() << ": " << count_text(static_cast<int64_t>(verified.tensors), "tensor")
           << (verified.differences.empty() ? ", all as in the manifest\n" : "\n");
  }
  return equal ? ExitCode::kOk : ExitCode::kDataCorrupt;
}

ExitCode merge(Invocation& in, const Options& options, Collectives& group) {
  // Every rank reads the same command line and plans the same merge; what one of them finds wrong ends all of them.
  const auto place = place_on_host(group, in.transport->host());
  std::optional<MergePlan> plan;
  std::exception_ptr error;
  try {
    const MergeSpec spec = read_spec(options, place);
    // A GPU's context takes a fifth of a second: it is made while the inputs are examined.
    const auto context = std::async(std::launch::async, [&] {
      if (!spec.device.is_cpu()) {
        at::empty({1}, at::TensorOptions(spec.device));
      }
    });
    plan = plan_merge(spec);
  } catch (...) {
    error = std::current_exception();
  }
  agree(group, error);
  if (options.has("dry-run")) {
    print_plan(in.out, *plan, group.size());
    in.out << "dry run: everything fits together; nothing was read or written\n";
    return ExitCode::kOk;
  }
  nlohmann::json provenance = launch_provenance(in.argv, *in.transport);
  auto last = std::chrono::steady_clock::now();
  const MergeReport report = run_merge(*plan, group, provenance, [&](double share) {
    const auto now = std::chrono::steady_clock::now();
    if (!options.has("quiet") && now - last > std::chrono::seconds(5)) {
      last = now;
      in.err << "fusegrid: " << static_cast<int>(100 * share) << " % of this pass\n";
    }
  });
  if (!options.has("quiet")) {
    const double bytes = static_cast<double>(report.bytes_read + report.bytes_written);
    if (report.continued_files > 0) {
      in.out << "continued: " << count_text(static_cast<int64_t>(report.continued_files), "file")
             << " had been finished before\n";
    }
    in.out << plan->spec.out.string() << ": "
           << count_text(static_cast<int64_t>(plan->outputs.size()), "model") << ", "
           << count_text(report.passes, "pass") << ", read " << bytes_text(report.bytes_read) << ", wrote "
           << bytes_text(report.bytes_written) << " in " << duration_text(report.seconds) << " ("
           << number_text(std::round(bytes / report.seconds / 1e8) / 10) << " GB/s), buffers "
           << bytes_text(report.buffer_bytes) << " a rank\n";
  }
  return ExitCode::kOk;
}

}  // namespace

ExitCode merge_checkpoints(Invocation& in) {
  Options options = merge_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  at::set_num_threads(1);  // sums of a whole tensor must not depend on the number of threads
  if (options.has("verify")) {
    return verify(in, options.get<std::string>("verify"));
  }
  const auto group = in.transport->size() > 1 ? mpi_collectives(0) : local_collectives();
  try {
    return merge(in, options, *group);
  } catch (const AgreedError&) {
    throw;  // on all ranks
  } catch (const std::exception& error) {
    if (group->size() > 1) {  // the others wait for this rank
      std::cerr << "fusegrid: error: rank " << group->rank() << ": " << error.what() << std::endl;
      in.transport->abort(static_cast<int>(ExitCode::kIo));
    }
    throw;
  }
}

}  // namespace fusegrid
