// fusegrid adapter merge: adapters of one base into an adapter.

#include "merge/adapter/adapter_merge.h"

#include <filesystem>

#include "cli/adapter_options.h"
#include "core/count_text.h"
#include "core/text.h"
#include "merge/adapter/peft_combination.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

Options merge_adapter_options() {
  Options options(
      "adapter merge",
      "Merges PEFT adapters of one base (LoRA, or (IA)^3) into one adapter, without reading the base's "
      "weights. "
      "Methods: those of 'fusegrid merge' that work on task vectors (task_arithmetic, ties, dare_ties, "
      "knots, "
      "core_space, tsv_m, emr, ...), whose result is cut to a rank; and PEFT's own combinations (" +
          join(adapters::peft_methods(), ", ") + "). docs/adapters.md tells more.",
      {"fusegrid adapter merge --method 'knots{scale=0.6}' --adapter math --adapter code --out both --rank "
       "32",
       "fusegrid adapter merge --method 'peft_linear{weights=0.7:0.3}' --adapter math --adapter code --out "
       "both",
       "fusegrid adapter merge --method emr --adapter ia3/a --adapter ia3/b --out both"});
  options.add()("method", text_value("M"), "name{parameter=value,...}")(
      "adapter", po::value<std::vector<std::string>>()->value_name("[NAME=]DIR"),
      "an adapter; repeat it. NAME: default is the folder's name")(
      "out", text_value("DIR"),
      "the new folder; of methods with a model per task, a folder for each adapter in it");
  add_cut_options(options, "of the result, at most (default: the largest of the adapters)");
  options.add()("seed", po::value<int64_t>()->default_value(0)->value_name("N"),
                "of methods that draw random numbers");
  options.add()("base", text_value("DIR"),
                "the base: it is checked that the adapters fit it (names and shapes; no weight is read)");
  options.add()("drop-saved", "leave out tensors that adapters hold whole (modules_to_save, biases)");
  options.add()("memory-limit", text_value("SIZE")->default_value("1G"), "of the buffers of the passes");
  options.add()("dry-run", "check everything; merge and write nothing");
  add_common_adapter_options(options);
  return options;
}

MergeExpert adapter_of(const std::string& text) {
  const size_t equals = text.find('=');
  // an existing folder may have a '=' in its name
  if (equals != std::string::npos && !fs::exists(text)) {
    return {text.substr(0, equals), (fs::path(text.substr(equals + 1)) / "").parent_path()};
  }
  const fs::path path = (fs::path(text) / "").parent_path();
  return {fs::absolute(path).lexically_normal().filename().string(), path};
}

adapters::AdapterMergeSpec spec_of(const Options& options) {
  adapters::AdapterMergeSpec spec;
  auto [name, parameters] =
      parse_call(needed_text(options, "merge", "method", "such as --method 'knots{scale=0.6}'"));
  spec.method = {name, parameters};
  if (!options.has("adapter")) {
    throw UsageError("'fusegrid adapter merge' needs --adapter DIR, once for every adapter to merge");
  }
  for (const std::string& adapter : options.get<std::vector<std::string>>("adapter")) {
    spec.adapters.push_back(adapter_of(adapter));
  }
  spec.out = (fs::path(needed_text(options, "merge", "out", "the folder to be written")) / "").parent_path();
  spec.rule = rule_of(options);
  spec.alpha = alpha_of(options);
  if (options.has("base-name")) {
    spec.base_name = options.get<std::string>("base-name");
  }
  if (options.has("base")) {
    spec.reading.base = options.get<std::string>("base");
  }
  spec.reading.drop_saved = options.has("drop-saved");
  spec.reading.files = {.allow_symlinks = true, .follow_links = options.has("follow-links")};
  spec.options.seed = static_cast<uint64_t>(options.get<int64_t>("seed"));
  spec.options.threads = adapter_threads(options);
  spec.options.memory_limit_bytes = parse_bytes(options.get<std::string>("memory-limit"), "--memory-limit");
  return spec;
}

void print_adapter(std::ostream& out, const adapters::MergedAdapter& adapter) {
  if (adapter.modules.empty()) {
    out << adapter.folder.string() << ": (IA)^3 vectors of "
        << count_text(static_cast<int64_t>(adapter.vectors), "module") << "\n";
    return;
  }
  out << module_table(adapter.modules) << "\n"
      << adapter.folder.string() << ": factors of "
      << count_text(static_cast<int64_t>(adapter.modules.size()), "module") << "; "
      << percent(adapter.relative_error())
      << " of the merged update is missing (relative Frobenius norm, of all modules)\n";
}

}  // namespace

ExitCode merge_adapters_command(Invocation& in) {
  Options options = merge_adapter_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  adapters::AdapterMergeSpec spec = spec_of(options);
  spec.options.device = adapter_device(options);
  spec.options.progress = progress_printer(in, options);
  const adapters::AdapterMergePlan plan = adapters::plan_adapter_merge(spec);
  print_notes(in, options, plan.inputs.notes);
  if (options.has("dry-run")) {
    in.out << "dry run: " << count_text(static_cast<int64_t>(spec.adapters.size()), "adapter") << " with "
           << count_text(static_cast<int64_t>(plan.inputs.base->tensors().size()), "module")
           << " fit together; nothing was written\n";
    return ExitCode::kOk;
  }
  const adapters::AdapterMergeReport report = adapters::merge_adapters(plan, program_record());
  if (!options.has("quiet")) {
    for (const adapters::MergedAdapter& adapter : report.adapters) {
      print_adapter(in.out, adapter);
    }
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
