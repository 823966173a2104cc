// fusegrid adapter extract: the adapter that comes nearest to a fine-tuned model.

#include <cstdio>
#include <filesystem>

#include "checkpoint/save_folder.h"
#include "cli/adapter_options.h"
#include "core/count_text.h"
#include "core/text.h"
#include "merge/adapter/adapter_merge.h"
#include "merge/adapter/extraction.h"
#include "merge/inputs.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

Options extract_options() {
  Options options(
      "adapter extract",
      "Writes the LoRA adapter (a PEFT folder) that comes nearest to a fine-tuned model: of each linear "
      "layer, "
      "the leading singular triplets of its difference from the base. Prints how much of every change is "
      "missing. docs/adapters.md tells more.",
      {"fusegrid adapter extract --base llama --model math --rank 32 --out math-lora",
       "fusegrid adapter extract --base llama --model math --energy 0.9 --modules q_proj,v_proj --rest save "
       "--out math-lora"});
  options.add()("base", text_value("DIR"), "the model that the other was tuned from")(
      "model", text_value("DIR"), "the tuned model: a checkpoint folder, or an adapter on the base")(
      "out", text_value("DIR"), "the new folder");
  add_cut_options(options, "singular triplets that each module keeps, at most; without it as --energy says");
  options.add()(
      "modules", text_value("NAMES"),
      "ends of the names of modules that get factors, as q_proj,v_proj (default: all linear layers)");
  options.add()(
      "rest", text_value("WHAT")->default_value("drop"),
      "of other tensors that changed (norms, biases, embeddings): drop, save (whole, in the adapter) or "
      "refuse");
  options.add()("allow-head-mismatch", "heads that not both models have in one shape are left out");
  add_common_adapter_options(options);
  return options;
}

adapters::Rest rest_of(const std::string& word) {
  static const std::map<std::string, adapters::Rest> words{
      {"drop", adapters::Rest::kDrop}, {"save", adapters::Rest::kSave}, {"refuse", adapters::Rest::kRefuse}};
  const auto found = words.find(word);
  if (found == words.end()) {
    throw UsageError("--rest takes drop, save or refuse, but it is '" + word + "'");
  }
  return found->second;
}

void print_extraction(std::ostream& out, const adapters::Extraction& extraction) {
  out << module_table(extraction.modules);
  if (extraction.rest.empty()) {
    return;
  }
  TextTable rest({"without factors", "norm of change", ""});
  for (const adapters::UnfactoredTensor& tensor : extraction.rest) {
    char norm[32];
    std::snprintf(norm, sizeof norm, "%.3g", tensor.norm);
    rest.add({tensor.name, norm, tensor.saved ? "held whole" : "missing"});
  }
  out << "\n" << rest.text();
}

}  // namespace

ExitCode extract_adapter_command(Invocation& in) {
  Options options = extract_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const fs::path base = needed_text(options, "extract", "base", "the model that the other was tuned from");
  const fs::path model = needed_text(options, "extract", "model", "the tuned model");
  const fs::path out = needed_text(options, "extract", "out", "the folder to be written");
  if (!options.has("rank") && !options.has("energy")) {
    throw UsageError("'fusegrid adapter extract' needs --rank R or --energy E, which say how much is kept");
  }
  adapters::ExtractionOptions extraction{.rule = rule_of(options), .alpha = alpha_of(options), .modules = {}};
  if (options.has("modules")) {
    for (const std::string& name : split(options.get<std::string>("modules"), ',')) {
      extraction.modules.push_back(trim(name));
    }
  }
  extraction.rest = rest_of(options.get<std::string>("rest"));
  extraction.threads = adapter_threads(options);
  check_new_folder(out);
  MergeSpec spec;
  spec.base = base;
  spec.experts = {{"model", model}};
  spec.allow_head_mismatch = options.has("allow-head-mismatch");
  spec.follow_links = options.has("follow-links");
  const MergeInputs inputs = open_inputs(spec);
  print_notes(in, options, inputs.notes);
  extraction.device = adapter_device(options);
  extraction.progress = progress_printer(in, options);
  const adapters::Extraction result =
      adapters::extract_adapter(*inputs.base, *inputs.experts.front(), extraction);
  nlohmann::json record = {{"format", "fusegrid-adapter"},
                           {"version", 1},
                           {"method", "extraction"},
                           {"base", base.string()},
                           {"model", model.string()},
                           {"modules", adapters::record_of(result.modules)},
                           {"relative_error", result.relative_error()}};
  for (const adapters::UnfactoredTensor& tensor : result.rest) {
    record["rest"][tensor.name] = {{"norm", tensor.norm}, {"saved", tensor.saved}};
  }
  record.update(program_record());
  save_lora_folder(out, result.adapter,
                   options.get_or<std::string>("base-name", fs::absolute(base).lexically_normal().string()),
                   {{adapters::kAdapterRecord, record.dump(1) + "\n"}});
  if (!options.has("quiet")) {
    print_extraction(in.out, result);
    in.out << "\n"
           << out.string() << ": factors of "
           << count_text(static_cast<int64_t>(result.adapter.factors.size()), "module") << "; "
           << percent(result.relative_error())
           << " of the change is missing (relative Frobenius norm, of all tensors)\n";
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
