#include "cli/merge_options.h"

#include <algorithm>

#include <boost/program_options/value_semantic.hpp>
#include <unistd.h>

#include "checkpoint/model_spec.h"
#include "cli/merge_job.h"
#include "cli/print.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

constexpr int64_t kMostThreads = 16;  // that a rank starts by itself

void add_limits(Options& options) {
  options.add()("memory-limit", po::value<std::string>()->value_name("SIZE"),
                "of a rank's buffers (default: 1G)");
  options.add()("keep-on-gpu", po::value<std::string>()->value_name("SIZE"),
                "of a GPU's memory, for what several passes read (default: 60 % of what is free)");
  options.add()("reduction", po::value<std::string>()->value_name("HOW"),
                "ordered; all_reduce: partial sums of ranks, exact (averages, task arithmetic)");
  options.add()(
      "inputs-are", po::value<std::string>()->value_name("WHERE"),
      "shared: all ranks see all folders; local: an expert is on some ranks' disks (default: shared)");
  options.add()(
      "threads", po::value<int>()->value_name("N"),
      "threads of a rank that read; half as many write one output, as many several (default: by cores)");
  options.add()("device", po::value<std::string>()->value_name("KIND"), "auto, cpu or cuda (default: auto)");
  options.add()("seed", po::value<int64_t>()->value_name("N"),
                "of methods that draw random numbers (default: 0)");
  options.add()("digests", po::value<std::string>()->value_name("WHICH"),
                "tensors whose SHA-256 the manifest has: all, outputs, none (default: all)");
  options.add()("precision", po::value<std::string>()->value_name("P"),
                "fp32, or compat: rounds as mergekit does (default: fp32)");
  options.add()("allow-vocabulary-mismatch",
                "experts may have more or fewer rows of embeddings than the base");
  options.add()("allow-head-mismatch",
                "models may have heads of other tasks: the result has all but the heads");
  options.add()("tokenizer-from", po::value<std::string>()->value_name("NAME"),
                "an expert: its tokenizer, chat template and generation settings (default: the base's)");
  options.add()("follow-links", "files of models may be links to other folders, as to a shared store");
  options.add()("allow-non-finite",
                "models may have NaN or infinity: so has the result there (docs/merge_inputs.md)");
  options.add()("dry-run",
                "check everything, print bytes, passes, memory and time; read no weights, write nothing");
  options.add()("verify", po::value<std::string>()->value_name("DIR"),
                "hash a merged folder and compare its manifest");
  options.add()("quiet,q", "print errors only");
}

}  // namespace

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
                   "fusegrid merge --job sweep.cfg --dry-run",
                   "fusegrid merge --method 'ties{density=0.5,scale=0.7}' --base sd --expert sd-ink --expert "
                   "ink.safetensors \\",
                   "    --components unet,text_encoder --out merged-pipeline",
                   "fusegrid merge --mergekit config.yml --out merged", "fusegrid merge --verify merged"});
  options.add()("method", po::value<Texts>()->value_name("M"),
                "name{parameter=value,...}; may be repeated: all read the models together");
  options.add()("base", po::value<std::string>()->value_name("DIR"),
                "the model that the experts were tuned from");
  options.add()(
      "expert", po::value<Texts>()->value_name("[NAME=]DIR"),
      "a model to merge; repeat it. NAME: default is the folder's name. Layers of folders as one model: "
      "'A[0:24]+B[8:32]'; MLPs of folders as a mixture of experts: 'moe(BASE; A, B)'; on a pipeline of "
      "diffusers also a .safetensors file of LoRA factors");
  options.add()(
      "components", po::value<std::string>()->value_name("A,B"),
      "of a pipeline of diffusers: those that are merged (default: unet, transformer, prior, decoder, "
      "text_encoder and those numbered alike); the others are kept from the base");
  options.add()(
      "keep", po::value<Texts>()->value_name("C[=NAME]"),
      "of a pipeline: a component that is not merged but kept from the base or, as vae=NAME, from an "
      "expert; repeat it");
  options.add()("out", po::value<std::string>()->value_name("DIR"),
                "the new folder; several methods: folders in it");
  options.add()("job", po::value<std::string>()->value_name("FILE"),
                "read all of this from a file (docs/merge.md)");
  options.add()("mergekit", po::value<std::string>()->value_name("FILE"),
                "a configuration file of mergekit, in place of methods and models (docs/mergekit_files.md)");
  options.add()("print-job", "with --mergekit: print the job file that does the same, where there is one");
  options.add()("dtype", po::value<std::string>()->value_name("T"),
                "of the merged weights: bfloat16, float16, float32, float64 (default: the base's)");
  options.add()("shard-size", po::value<std::string>()->value_name("SIZE"),
                "most bytes of a weight file, as 4G or 500M (default: the base's files)");
  add_limits(options);
  return options;
}

namespace {

Digests parse_digests(const std::string& text) {
  static const std::map<std::string, Digests> by_name{
      {"all", Digests::kAll}, {"outputs", Digests::kOutputs}, {"none", Digests::kNone}};
  const auto it = by_name.find(text);
  if (it == by_name.end()) {
    throw ConfigError("--digests must be all, outputs or none, but it is '" + text + "'");
  }
  return it->second;
}

// Of a job file; on the command line it has no value.
bool parse_switch(const std::string& text, const std::string& key) {
  if (text != "true" && text != "false") {
    throw ConfigError("'" + key + "' must be true or false, but it is '" + text + "'");
  }
  return text == "true";
}

Reduce parse_reduction(const std::string& text) {
  static const std::map<std::string, Reduce> by_name{{"ordered", Reduce::kOrdered},
                                                     {"all_reduce", Reduce::kAllReduce}};
  const auto it = by_name.find(text);
  if (it == by_name.end()) {
    throw ConfigError("--reduction must be ordered or all_reduce, but it is '" + text + "'");
  }
  return it->second;
}

bool parse_where(const std::string& text) {
  if (text != "shared" && text != "local") {
    throw ConfigError("--inputs-are must be shared or local, but it is '" + text + "'");
  }
  return text == "local";
}

MergePrecision parse_merge_precision(const std::string& text) {
  if (text != "fp32" && text != "compat") {
    throw ConfigError("--precision must be fp32 or compat, but it is '" + text + "'");
  }
  return text == "compat" ? MergePrecision::kCompat : MergePrecision::kFloat32;
}

MergeExpert parse_expert(const std::string& text) {
  const size_t mark = text.find_first_of("={");  // behind a '{' come parameters of a model
  // an existing folder may have a '=' in its name
  if (mark != std::string::npos && text[mark] == '=' && !std::filesystem::exists(text)) {
    const std::string name = text.substr(0, mark);
    check_name(name, "the name of an expert, in front of '=' in --expert '" + text + "',");
    return {name, (std::filesystem::path(text.substr(mark + 1)) / "").parent_path()};
  }
  return {parse_model(text)->default_name(), (std::filesystem::path(text) / "").parent_path()};
}

using Given = std::map<std::string, std::vector<MergeSetting>>;

// Command line and job file, by option.
Given given_options(const Options& options, std::vector<MergeMethod>& methods) {
  Given given;
  if (options.has("job")) {
    MergeJob job = read_merge_job(options.get<std::string>("job"));
    given = std::move(job.settings);
    methods = std::move(job.methods);
  }
  const auto set = [&](const std::string& key, const Texts& texts) {
    given[key].clear();
    for (const std::string& text : texts) {
      given[key].push_back({text, ""});
    }
  };
  for (const std::string key : {"method", "expert", "keep"}) {
    if (options.has(key)) {
      set(key, options.get<Texts>(key));
    }
  }
  for (const std::string key :
       {"base", "out", "dtype", "shard-size", "memory-limit", "keep-on-gpu", "device", "digests", "precision",
        "inputs-are", "reduction", "tokenizer-from", "components"}) {
    if (options.has(key)) {
      set(key, {options.get<std::string>(key)});
    }
  }
  for (const std::string key :
       {"allow-vocabulary-mismatch", "allow-head-mismatch", "allow-non-finite", "follow-links"}) {
    if (options.has(key)) {
      set(key, {"true"});
    }
  }
  if (options.has("seed")) {
    set("seed", {number_text(options.get<int64_t>("seed"))});
  }
  if (options.has("threads")) {
    set("threads", {number_text(int64_t{options.get<int>("threads")})});
  }
  return given;
}

// parse(text); what it throws tells the line of the job file.
template <typename Parse>
auto parsed(const MergeSetting& setting, const Parse& parse) {
  try {
    return parse(setting.text);
  } catch (const Error& error) {
    if (setting.origin.empty()) {
      throw;
    }
    throw Error(error.code(), setting.origin + ": " + error.what());
  }
}

// The last one given, or `fallback`.
template <typename Parse>
auto parsed(const Given& given, const std::string& key, const std::string& fallback, const Parse& parse) {
  const auto it = given.find(key);
  return parsed(it == given.end() ? MergeSetting{fallback, ""} : it->second.back(), parse);
}

int parse_threads(const std::string& text, at::Device device) {
  const int64_t threads = parse_int(text, "--threads");
  if (threads < (device.is_cpu() ? 0 : 1) || threads > 1024) {
    throw ConfigError("--threads must lie in [0, 1024] (with a GPU, [1, 1024]), but it is " +
                      number_text(threads));
  }
  return static_cast<int>(threads);
}

void read_models(Given& given, MergeSpec& spec) {
  for (const MergeSetting& call : given["method"]) {
    auto [name, parameters] = parse_call(call.text);
    spec.methods.push_back({name, parameters});
  }
  if (spec.methods.empty()) {
    throw UsageError("'fusegrid merge' needs --method, such as --method 'task_arithmetic{scale=0.3}'");
  }
  if (given["expert"].empty()) {
    throw UsageError("'fusegrid merge' needs --expert DIR, once for every model to merge");
  }
  for (const MergeSetting& expert : given["expert"]) {
    spec.experts.push_back(parsed(expert, parse_expert));
  }
  if (given.contains("base")) {
    spec.base = given["base"].back().text;
  }
}

// "unet,text_encoder"
std::vector<std::string> parse_components(const std::string& text) {
  std::vector<std::string> names;
  for (const std::string& part : split(text, ',')) {
    names.push_back(trim(part));
    if (names.back().empty()) {
      throw ConfigError(
          "--components must be names with ',' between them, as unet,text_encoder, but it is '" + text + "'");
    }
  }
  return names;
}

// "vae", "vae=expert"; several with ',' between them
void read_kept(const std::string& text, std::vector<KeptComponent>& keep) {
  for (const std::string& part : split(text, ',')) {
    const size_t equals = part.find('=');
    const std::string component = trim(part.substr(0, equals));
    const std::string expert = equals == std::string::npos ? "" : trim(part.substr(equals + 1));
    if (component.empty() || (equals != std::string::npos && expert.empty())) {
      throw ConfigError("--keep must be a component, or a component and an expert as vae=NAME, but it is '" +
                        text + "'");
    }
    keep.push_back({component, expert});
  }
}

void read_choice_of_components(Given& given, MergeSpec& spec) {
  if (given.contains("components")) {
    spec.components = parsed(given["components"].back(), parse_components);
  }
  for (const MergeSetting& setting : given["keep"]) {
    parsed(setting, [&](const std::string& text) { return read_kept(text, spec.keep); });
  }
}

void read_out(Given& given, MergeSpec& spec) {
  if (!given.contains("out")) {
    throw UsageError("'fusegrid merge' needs --out DIR, the folder to write");
  }
  spec.out = (std::filesystem::path(given["out"].back().text) / "").parent_path();
}

// A file of mergekit says all of this itself.
void check_alone(const Options& options) {
  for (const std::string key :
       {"job", "method", "base", "expert", "dtype", "precision", "tokenizer-from", "reduction", "inputs-are",
        "allow-vocabulary-mismatch", "components", "keep"}) {
    if (options.has(key)) {
      throw UsageError("--mergekit names a file that says what is merged and how, so it stands without --" +
                       key + "; leave one of the two out");
    }
  }
}

}  // namespace

int share_of_cores(int ranks) {
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) / ranks);
}

MergeSpec read_merge_spec(const Options& options, const std::pair<int, int>& place) {
  MergeSpec spec;
  Given given = given_options(options, spec.methods);
  if (options.has("mergekit")) {
    check_alone(options);
  } else if (options.has("print-job")) {
    throw UsageError("--print-job tells what a file of mergekit is here; add --mergekit FILE");
  } else {
    read_models(given, spec);
    read_choice_of_components(given, spec);
  }
  read_out(given, spec);
  const auto bytes = [](const std::string& option) {
    return [option](const std::string& text) { return parse_bytes(text, option); };
  };
  if (given.contains("dtype")) {
    spec.dtype = parsed(given, "dtype", "", float_dtype);
  }
  if (given.contains("shard-size")) {
    spec.shard_bytes = parsed(given, "shard-size", "", bytes("--shard-size"));
  }
  spec.memory_limit_bytes = parsed(given, "memory-limit", "1G", bytes("--memory-limit"));
  if (given.contains("keep-on-gpu")) {
    spec.keep_bytes = parsed(given, "keep-on-gpu", "", bytes("--keep-on-gpu"));
  }
  spec.digests = parsed(given, "digests", "all", parse_digests);
  spec.reduction = parsed(given, "reduction", "ordered", parse_reduction);
  spec.inputs_are_local = parsed(given, "inputs-are", "shared", parse_where);
  spec.precision = parsed(given, "precision", "fp32", parse_merge_precision);
  if (spec.precision == MergePrecision::kCompat) {
    spec.model_dtype = spec.dtype;  // as mergekit's `dtype`
  }
  spec.seed = parsed(given, "seed", "0", [](const std::string& text) {
    return static_cast<uint64_t>(parse_int(text, "--seed"));
  });
  const auto is_on = [&given](const std::string& key) {
    return parsed(given, key, "false", [&key](const std::string& text) { return parse_switch(text, key); });
  };
  spec.allow_vocabulary_mismatch = is_on("allow-vocabulary-mismatch");
  spec.allow_head_mismatch = is_on("allow-head-mismatch");
  spec.follow_links = is_on("follow-links");
  if (given.contains("tokenizer-from")) {
    spec.tokenizer_from = given["tokenizer-from"].back().text;
  }
  spec.allow_non_finite = is_on("allow-non-finite");
  const int index = place.first;
  const int ranks = place.second;
  spec.device = parsed(given, "device", "auto", [index, ranks](const std::string& text) {
    return open_device(choose_device(text, index, ranks, HostDevices::here()));
  });
  const int64_t cores = std::min(usable_cores(), share_of_cores(ranks));
  // where a GPU calculates, some are left to the threads that write
  const int64_t reading = spec.device.is_cpu() ? cores : std::max(int64_t{1}, cores * 3 / 4);
  const std::string by_cores = number_text(std::min(reading, kMostThreads));
  spec.threads = parsed(given, "threads", by_cores,
                        [&](const std::string& text) { return parse_threads(text, spec.device); });
  return spec;
}

}  // namespace fusegrid
