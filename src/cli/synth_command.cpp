// fusegrid synth: synthetic checkpoints for tests and benchmarks of merging.

#include <algorithm>
#include <array>
#include <filesystem>

#include <boost/program_options/value_semantic.hpp>

#include "checkpoint/synthetic.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/print.h"
#include "core/errors.h"
#include "core/text.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

Options synth_options() {
  Options options(
      "synth",
      "Writes a base and experts with random weights, as folders of HuggingFace: DIR/base, DIR/expert-0, ... "
      "The experts are the base plus small noise, as fine-tuned models are. The same command gives the same "
      "bytes, whatever the number of threads.",
      {"fusegrid synth --out models --experts 8",
       "fusegrid synth --out small --layers 2 --hidden 64 "
       "--intermediate 128 --heads 4 --kv-heads 2 --vocab 100",
       "fusegrid synth --out clip --layout clip-vision --dtype fp32 --experts 8",
       "fusegrid synth --out adapters --experts 8 --lora 16"});
  const auto number = [] { return po::value<int64_t>()->value_name("N"); };
  const auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  options.add()("out", text("DIR"), "folder to make; needed except with --dry-run")(
      "layout", text("LAYOUT")->default_value("llama"), "llama or clip-vision (clip-vit-base-patch32)")(
      "experts", number()->default_value(2), "experts beside the base")(
      "lora", po::value<int64_t>()->value_name("RANK"), "experts are PEFT adapters of this rank")(
      "dtype", text("DTYPE")->default_value("bf16"), "bf16, fp16 or fp32")(
      "seed", po::value<uint64_t>()->value_name("N")->default_value(0), "other seeds, other weights")(
      "layers", number(), "blocks (llama: 22, clip-vision: 12)")("hidden", number(), "width (2048, 768)")(
      "intermediate", number(), "width of the MLP (5632, 3072)")(
      "heads", number(), "attention heads (32, 12)")("kv-heads", number(), "key-value heads (llama: 4)")(
      "vocab", number(), "tokens (llama: 32000)")("tied",
                                                  "no lm_head: the embedding serves both ends (llama)")(
      "shard-size", text("SIZE")->default_value("1GB"), "most bytes of a weight file, such as 500MB or 2GiB")(
      "threads", po::value<int>()->value_name("N"), "threads (default: all cores)")(
      "dry-run", "print what would be written, and how many bytes");
  return options;
}

template <typename T>
T chosen(const std::string& option, const std::string& word,
         const std::vector<std::pair<std::string, T>>& known) {
  std::vector<std::string> words;
  for (const auto& [name, value] : known) {
    if (name == word) {
      return value;
    }
    words.push_back(name);
  }
  throw UsageError("--" + option + " must be one of " + join(words, ", ") + ", but it is '" + word + "'");
}

SyntheticShape shape_of(const Options& options) {
  const auto layout = chosen<SyntheticLayout>(
      "layout", options.get<std::string>("layout"),
      {{"llama", SyntheticLayout::kLlama}, {"clip-vision", SyntheticLayout::kClipVision}});
  if (layout == SyntheticLayout::kClipVision) {
    for (const auto* option : {"kv-heads", "vocab", "tied"}) {
      if (options.has(option)) {
        throw UsageError("--" + std::string(option) +
                         " is of llama only, but --layout is clip-vision; leave it out");
      }
    }
  }
  SyntheticShape shape = default_shape(layout);
  shape.layers = options.get_or("layers", shape.layers);
  shape.hidden = options.get_or("hidden", shape.hidden);
  shape.intermediate = options.get_or("intermediate", shape.intermediate);
  shape.heads = options.get_or("heads", shape.heads);
  shape.kv_heads =
      options.get_or("kv-heads", layout == SyntheticLayout::kLlama ? shape.kv_heads : shape.heads);
  shape.vocab = options.get_or("vocab", shape.vocab);
  shape.tied = options.has("tied");
  return shape;
}

SyntheticRequest request_of(const Options& options) {
  SyntheticRequest request{
      .shape = shape_of(options),
      .dtype = chosen<at::ScalarType>("dtype", options.get<std::string>("dtype"),
                                      {{"bf16", at::kBFloat16}, {"fp16", at::kHalf}, {"fp32", at::kFloat}}),
      .experts = options.get<int64_t>("experts"),
      .lora_rank = options.get_or<int64_t>("lora", 0),
      .seed = options.get<uint64_t>("seed"),
      .shard_bytes = parse_bytes(options.get<std::string>("shard-size"), "--shard-size"),
      .threads = options.get_or("threads", usable_cores())};
  if (options.has("lora") && request.lora_rank < 1) {
    throw UsageError("--lora must be a rank of at least 1, but it is " + number_text(request.lora_rank) +
                     "; without --lora the experts are whole checkpoints");
  }
  return request;
}

void print_plan(std::ostream& out, const std::vector<SyntheticFolder>& folders) {
  TextTable table({"folder", "weight files", "tensors", "parameters", "bytes", ""});
  int64_t total = 0;
  for (const auto& folder : folders) {
    table.add({folder.name, number_text(folder.weight_files), number_text(folder.tensors),
               number_text(folder.parameters), number_text(folder.tensor_bytes),
               bytes_text(folder.tensor_bytes)});
    total += folder.tensor_bytes;
  }
  table.add({"total", "", "", "", number_text(total), bytes_text(total)});
  out << table.text();
}

}  // namespace

ExitCode make_synthetic(Invocation& in) {
  Options options = synth_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const SyntheticRequest request = request_of(options);
  const auto folders = plan_synthetic(request);
  if (options.has("dry-run")) {
    print_plan(in.out, folders);
    return ExitCode::kOk;
  }
  if (!options.has("out")) {
    throw UsageError(
        "'fusegrid synth' needs --out DIR, a folder that it makes; --dry-run only prints the sizes");
  }
  const std::filesystem::path out = options.get<std::string>("out");
  write_synthetic(request, out);
  print_plan(in.out, folders);
  in.out << "written to " << out.string() << "\n";
  return ExitCode::kOk;
}

}  // namespace fusegrid
