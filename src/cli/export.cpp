// fusegrid export: makes the merge of a recorded cell again and writes its model, or one per task, as folders of
// HuggingFace.

#include <algorithm>
#include <set>

#include <ATen/Parallel.h>
#include <boost/program_options/value_semantic.hpp>

#include "checkpoint/save_folder.h"
#include "cli/adapter_folder.h"
#include "cli/adapter_options.h"
#include "cli/build_facts.h"
#include "cli/commands.h"
#include "cli/export_choice.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "cli/results_folder.h"
#include "coordinator/cell_data.h"
#include "coordinator/external_tasks.h"
#include "coordinator/launch.h"
#include "core/count_text.h"
#include "core/files.h"
#include "core/text.h"
#include "fusion/cell_merge.h"
#include "merge/merge.h"
#include "store/result_store.h"
#include "worker/device.h"
#include "worker/merge_maker.h"
#include "worker/model_folder.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr size_t kTasksShown = 3;

Options export_options() {
  Options options(
      "export",
      "Makes the merge of a recorded cell again, compares it with the digest that was recorded, and writes "
      "its "
      "model as a HuggingFace folder like the base's, with the head of the cell's task. A name without task "
      "exports all tasks of the merge: one model with all their heads, or a folder for each task where the "
      "method makes a model per task.",
      {"fusegrid export results/quickstart 'embedded-small/experts=8/regmean/seed=0/mnist@clean' --out "
       "merged",
       "fusegrid export results/quickstart embedded-small/experts=8/emr/seed=0 --out merged --dtype bf16",
       "fusegrid export results/seq2seq_lora 'seq2seq-small-lora16/experts=8/knots/seed=0' --out merged "
       "--adapter 32"});
  options.argument("RESULTS", "the results folder");
  options.argument("CELL", "the name of a cell, or of a merge: a cell's name without its task");
  options.add()("out", po::value<std::string>()->value_name("DIR"), "the new folder")(
      "dtype", po::value<std::string>()->default_value("float32")->value_name("T"),
      "of the weights: float32, bfloat16 (bf16), float16 (fp16), float64")(
      "zoo", po::value<std::string>()->value_name("DIR"),
      "the zoo, where it is no longer where the run found it")(
      "device", po::value<std::string>()->value_name("KIND"),
      "auto, cpu or cuda (default: cpu where the cell was merged on such a CPU, else auto)")(
      "threads", po::value<int>()->value_name("N"), "CPU threads (default: as the run's workers had)")(
      "adapter", po::value<std::string>()->value_name("RANK"),
      "write a PEFT adapter on the base: the nearest of this rank, or own, the adapter that an individual "
      "expert is")("quiet,q", "no progress");
  return options;
}

// The newest launch that ran cells of the zoo.
nlohmann::json launch_of(const Records& records, const std::string& zoo) {
  const auto found = std::find_if(records.runs.rbegin(), records.runs.rend(), [&](const RunInfo& run) {
    return run.provenance.contains("zoos") && run.provenance["zoos"].contains(zoo);
  });
  return found == records.runs.rend() ? nlohmann::json::object() : found->provenance;
}

Zoo zoo_of(const Options& options, const nlohmann::json& launch, const std::string& name) {
  if (options.has("zoo")) {
    Zoo zoo = find_zoo(options.get<std::string>("zoo"));
    if (zoo.name != name) {
      throw ConfigError("--zoo must be a folder of the zoo '" + name + "', but it is one of '" + zoo.name +
                        "'; a zoo keeps its name when it moves");
    }
    return zoo;
  }
  const nlohmann::json::json_pointer place("/zoos/" + name + "/folder");
  const fs::path recorded = launch.contains(place) ? launch.at(place).get<std::string>() : "";
  if (!recorded.empty() && fs::exists(recorded / "zoo.json")) {
    return Zoo::load(recorded);
  }
  try {
    return find_zoo(name);
  } catch (const ConfigError& error) {
    throw ConfigError(std::string(error.what()) + ". The run found it in '" + recorded.string() +
                      "'; name its folder with --zoo where it has moved");
  }
}

// ConfigError where the method makes no model that a folder can hold.
void check_yields(const ChosenCells& chosen, const Zoo& zoo) {
  const MethodCard& card = method_registry().at(chosen.cell.method).card;
  if (card.yields == Yields::kOneModel || card.yields == Yields::kModelPerTask) {
    return;
  }
  const Replicate& replicate = zoo.replicate(chosen.cell.seed);
  std::string folders;
  for (const std::string& model : models_read(card, zoo.experts_called(chosen.cell.experts))) {
    folders += "\n  " + model + ": " + model_folder(zoo, replicate, model).string();
  }
  throw ConfigError("a method must make one model, or one per task, to be exported, but " + card.title +
                    " makes one of the kind '" + to_string(card.yields) +
                    "', whose answers several models make together and no folder of HuggingFace can hold. "
                    "Export another method's merge, or take the models that it is made of:" +
                    folders);
}

// ConfigError where models, heads or data are others than the ones recorded.
void check_inputs(const Records& records, const ChosenCells& chosen, const Zoo& zoo,
                  const std::string& precision) {
  JobSpec job;
  job.precision = precision;
  job.external_tasks = chosen.external_tasks;
  for (const std::string& task : chosen.tasks) {
    if (task_section(job, task) == nullptr && std::ranges::count(zoo.tasks, task) == 0) {
      throw ConfigError("the zoo must be as it was recorded, but '" + zoo.folder.string() +
                        "' has no longer the task '" + task + "'; bring the old zoo back");
    }
  }
  pack_contents(zoo);
  RunInfo now;
  now.bindings = launch_bindings(job, chosen.cells, {{zoo.name, zoo}});
  now.bindings.erase("validation");  // decides how a merge is evaluated, not what it is
  check_bindings(records, now);
}

bool is_as_recorded(const ChosenCells& chosen, const std::string& weights_sha256) {
  return std::any_of(chosen.results.begin(), chosen.results.end(), [&](const Result* result) {
    const auto recorded = result->facts.find("weights_sha256");
    return recorded != result->facts.end() && recorded->second == weights_sha256;
  });
}

// DataError where the merge has other bits than recorded, though a device of the same kind made it; a warning where
// that was another kind.
void check_weights(const ChosenCells& chosen, const std::string& weights_sha256, const std::string& device,
                   std::ostream& warnings) {
  if (is_as_recorded(chosen, weights_sha256)) {
    return;
  }
  const auto& facts = chosen.results.front()->facts;
  const auto recorded = [&](const std::string& fact) {
    const auto found = facts.find(fact);
    return found == facts.end() ? std::string("unknown") : found->second;
  };
  const std::string difference =
      "the weights have the SHA-256 " + weights_sha256 + ", and those recorded " + recorded("weights_sha256");
  if (recorded("device") == device) {
    throw DataError("a merge that is made again must have the recorded bits on the same kind of device (" +
                    device + "), but " + difference +
                    "; another program made it, or one with other libraries or --threads: export with that "
                    "one, or run the cell again with --forget");
  }
  warnings << "fusegrid: warning: " << difference << ": made on " << device << ", recorded on "
           << recorded("device") << ", which rounds otherwise\n";
}

void warn_of_invalid(const ChosenCells& chosen, std::ostream& warnings) {
  for (const Result* result : chosen.results) {
    if (result->status == Status::kInvalid) {
      warnings << "fusegrid: warning: " << result->name << " is invalid: " << result->reason << "\n";
    }
  }
}

DeviceChoice chosen_device(const Options& options, const ChosenCells& chosen) {
  const auto& facts = chosen.results.front()->facts;
  const auto made_on = facts.find("device");
  const DeviceChoice cpu = choose_device("cpu", 0, 1, HostDevices::here());
  const bool same_cpu = made_on != facts.end() && made_on->second == cpu.kind;
  return choose_device(device_kind(options, same_cpu ? "cpu" : "auto"), 0, 1, HostDevices::here());
}

nlohmann::json record_of(const ChosenCells& chosen, const std::vector<std::string>& tasks, Pooling pooling,
                         const Merge& merge, const Weights& parameters, const fs::path& results) {
  const BuildFacts& build = build_facts();
  const Method& method = method_registry().at(chosen.cell.method);
  nlohmann::json record = {{"format", "fusegrid-export"},
                           {"version", 1},
                           {"name", chosen.name},
                           {"zoo", chosen.cell.zoo},
                           {"experts", chosen.cell.experts},
                           {"seed", chosen.cell.seed},
                           {"tasks", tasks},
                           {"pooling", to_string(pooling)},
                           {"method", method.card.title},
                           {"paper", method.card.paper},
                           {"parameters", chosen.cell.parameters},
                           {"facts", merge.facts},
                           {"as_recorded", is_as_recorded(chosen, merge.facts.at("weights_sha256"))},
                           {"model_sha256", digest(parameters)},
                           {"program", build.version},
                           {"git", build.revision + (build.dirty ? "-dirty" : "")}};
  if (fs::exists(results / "results.h5")) {
    record["metrics_sha256"] = metrics_sha256(results / "results.h5");
  }
  return record;
}

// What is asked for besides the cell.
struct Request {
  fs::path results;
  fs::path out;
  at::ScalarType dtype;
  std::string precision;  // of the run
  DeviceChoice choice;
  std::optional<AdapterChoice> adapter;  // none: whole models
  int threads = 1;
};

// Writes models of a merge; says what it wrote, a line each.
class Writer {
 public:
  Writer(const ChosenCells& chosen, const Merge& merge, OpenZoo& zoo, const Request& request)
      : chosen_(chosen), merge_(merge), zoo_(zoo), request_(request) {}

  // The model that answers the tasks. shown: what the line calls the folder.
  std::string write(const fs::path& folder, const std::vector<std::string>& tasks,
                    const fs::path& shown) const {
    const Weights* parameters = merge_.model.predictor->model_of(tasks.front());
    FUSEGRID_ASSERT(parameters != nullptr, chosen_.name);
    const auto headed = with_heads(tasks);
    const Weights heads = heads_of_merge(merge_.model, replicate(), headed);
    const ModelToWrite model{
        .base = replicate().base,
        .architecture = *zoo_.network(chosen_.cell.seed).architecture,
        .parameters = *parameters,
        .dtype = request_.dtype,
        .heads = heads,
        .record = record_of(chosen_, tasks, zoo_.zoo().pooling, merge_, *parameters, request_.results)};
    return shown.string() + ": " + write(folder, model, tasks.front()) +
           (heads.empty() ? "" : ", heads of " + some_names(headed, kTasksShown)) + "\n";
  }

  // A folder for each task, all of them or none.
  std::string write_per_task(const fs::path& folder) const {
    TemporaryPath all((fs::absolute(folder) / "").parent_path());
    std::string lines;
    for (const std::string& task : chosen_.tasks) {
      lines += write(all.path() / task, {task}, folder / task);
    }
    all.publish();
    return lines;
  }

 private:
  // What was written.
  std::string write(const fs::path& folder, const ModelToWrite& model, const std::string& task) const {
    if (!request_.adapter) {
      const WrittenModel written = write_model_folder(folder, model);
      return count_text(written.tensors, "tensor") + ", " + bytes_text(written.bytes) + " of " +
             dtype_name(request_.dtype) + " in " + count_text(written.files, "file");
    }
    if (!request_.adapter->rank) {
      const fs::path own = own_adapter(chosen_, zoo_.zoo(), task);
      write_own_adapter(folder, own, model);
      return "the adapter '" + own.string() + "'";
    }
    const WrittenAdapter written =
        write_cut_adapter(folder, model, *request_.adapter->rank, request_.threads);
    return "an adapter with factors of " + count_text(written.modules, "module") + " that lacks " +
           percent(written.relative_error) + " of the merge's change of the base (relative Frobenius norm)";
  }

  const Replicate& replicate() const { return zoo_.zoo().replicate(chosen_.cell.seed); }

  // The zoo's; a command that answers for another one has whatever head it wants.
  std::vector<std::string> with_heads(std::vector<std::string> tasks) const {
    std::erase_if(tasks,
                  [&](const std::string& task) { return std::ranges::count(zoo_.zoo().tasks, task) == 0; });
    return tasks;
  }

  const ChosenCells& chosen_;
  const Merge& merge_;
  OpenZoo& zoo_;
  const Request& request_;
};

std::map<std::string, std::string> external_owners(const ChosenCells& chosen) {
  std::map<std::string, std::string> owners;
  for (const TaskSection& section : chosen.external_tasks) {
    if (!section.task.expert.empty()) {
      owners.emplace(section.name, section.task.expert);
    }
  }
  return owners;
}

std::string make_and_write(const Request& request, const ChosenCells& chosen, const Zoo& zoo,
                           std::ostream& warnings) {
  const at::Device device = open_device(request.choice);
  const MemoryShares shares;
  std::map<std::string, SeenPack> packs;
  if (const auto seen = seen_pack(zoo)) {
    packs.emplace(zoo.name, *seen);
  }
  ZooCache zoos({{zoo.name, zoo.folder.string()}}, device, shares, parse_precision(request.precision), packs,
                external_owners(chosen));
  MergeMaker maker(
      {.statistics_bytes = shares.statistics, .model_bytes = room_for_models(device, 0), .as_made = true},
      device);
  OpenZoo& open = zoos.open(zoo.name);
  const Merge& merge = maker.of(chosen.cell, open, [] {});
  check_weights(chosen, merge.facts.at("weights_sha256"), request.choice.kind, warnings);
  const Writer writer(chosen, merge, open, request);
  const bool per_task = method_registry().at(chosen.cell.method).card.yields == Yields::kModelPerTask;
  return per_task && chosen.whole_merge ? writer.write_per_task(request.out)
                                        : writer.write(request.out, chosen.tasks, request.out);
}

}  // namespace

ExitCode export_model(Invocation& in) {
  Options options = export_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  if (!options.has("out")) {
    throw UsageError("'fusegrid export' needs --out, the folder to be written");
  }
  Request request;
  request.out = options.get<std::string>("out");
  check_new_folder(request.out);
  request.dtype = float_dtype(options.get<std::string>("dtype"));
  request.results = existing_results(options);
  if (options.has("adapter")) {
    request.adapter = adapter_choice(options.get<std::string>("adapter"));
    if (request.dtype != at::kFloat) {
      throw UsageError(
          "adapters are written in float32, so --dtype and --adapter go not together; leave one out");
    }
  }
  const auto store = ResultStore::read(request.results);
  const Records& records = store->records();
  const ChosenCells chosen = chosen_cells(records, request.results, options.argument("CELL"));
  const nlohmann::json launch = launch_of(records, chosen.cell.zoo);
  const Zoo zoo = zoo_of(options, launch, chosen.cell.zoo);
  check_yields(chosen, zoo);
  if (request.adapter && !request.adapter->rank) {
    for (const std::string& task : chosen.tasks) {
      own_adapter(chosen, zoo, task);
    }
  }
  request.precision = records.bindings.at("precision").value;
  check_inputs(records, chosen, zoo, request.precision);
  warn_of_invalid(chosen, in.err);
  request.choice = chosen_device(options, chosen);
  request.threads = whole_number(options, "threads", kHighestThreads, launch.value("threads", int64_t{1}));
  at::set_num_threads(request.threads);
  if (!options.has("quiet")) {
    in.err << "fusegrid: making " << merge_name(chosen.cells.front()) << " again on "
           << request.choice.description << "\n";
  }
  in.out << make_and_write(request, chosen, zoo, in.err);
  return ExitCode::kOk;
}

}  // namespace fusegrid
