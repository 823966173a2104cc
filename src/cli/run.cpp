// fusegrid run: runs the cells of a job that have no results yet.

#include <algorithm>
#include <set>

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/memory_limit.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "cli/provenance.h"
#include "cli/report_files.h"
#include "cli/results_folder.h"
#include "coordinator/campaign.h"
#include "coordinator/example_counts.h"
#include "coordinator/external_settings.h"
#include "coordinator/grid.h"
#include "coordinator/launch.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/sharding.h"
#include "report/choice.h"
#include "report/published.h"
#include "store/result_store.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

constexpr double kStatisticsGib = 8;

Options run_options() {
  Options options(
      "run",
      "Runs the cells of a job file that have no results yet and prints the leaderboard. The same command "
      "continues a run that was stopped or killed. Under mpirun, rank 0 coordinates and every other rank is "
      "a worker; alone, the program works by itself.",
      {"fusegrid run jobs/quickstart.cfg", "mpirun -n 5 fusegrid run jobs/quickstart.cfg --quiet",
       "fusegrid run jobs/quickstart.cfg --dry-run",
       "fusegrid run jobs/quickstart.cfg --only '/ties.*mnist@'",
       "fusegrid run jobs/quickstart.cfg --retry-failed"});
  options.argument("JOB", "the job file");
  options.add()("results", po::value<std::string>()->value_name("DIR"),
                "results folder (default: results/<name of the job file>)")(
      "dry-run", "print cells, estimated cost, memory and bytes to read; run and write nothing")(
      "verbose,v", "with --dry-run: print the name of every cell")(
      "only", po::value<std::string>()->value_name("REGEX"), "only cells whose name the expression finds")(
      "retry-failed", "run cells again that failed or were invalid")(
      "forget", po::value<std::string>()->value_name("REGEX"),
      "drop the recorded results of the job's cells whose name the expression finds, and run them again")(
      "inline", "run cells in the ranks' own processes (debuggers, sanitizers): a crash ends the run")(
      "device", po::value<std::string>()->value_name("KIND"), "auto, cpu or cuda; overrides the job file")(
      "threads", po::value<int>()->value_name("N"), "CPU threads of a worker; overrides the job file")(
      "max-attempts", po::value<int>()->value_name("N"), "attempts of a cell; overrides the job file")(
      "statistics-cache", po::value<double>()->default_value(kStatisticsGib)->value_name("GIB"),
      "disk that results/NAME/statistics may take, where workers share Gram matrices, decompositions and the "
      "like")("no-statistics-cache", "save none of them: each worker makes what it needs")("quiet,q",
                                                                                           "no progress");
  return options;
}

SavedStatistics saved_statistics(const Options& options, const std::filesystem::path& results) {
  const auto gib = options.get<double>("statistics-cache");
  if (!(gib > 0 && gib <= 1e6)) {
    throw UsageError("--statistics-cache must be above 0 and at most 1e6 GiB, but it is " + number_text(gib) +
                     "; --no-statistics-cache saves nothing");
  }
  return {options.has("no-statistics-cache") ? std::filesystem::path() : results / "statistics",
          static_cast<int64_t>(gib * static_cast<double>(int64_t{1} << 30))};
}

// Where commands write models, as long as they are needed.
std::filesystem::path scratch_folder(const std::filesystem::path& results) {
  return results / "external";
}

CampaignOptions campaign_options(const Options& options, const Plan& plan,
                                 const std::filesystem::path& results,
                                 const std::map<std::string, std::string>& bindings) {
  const JobSpec& job = plan.job;
  CampaignOptions campaign;
  campaign.executor_kind = "grid";
  campaign.memory_limit_bytes = job.memory_limit_bytes();
  campaign.executor_settings = grid_settings(job, plan.zoos, saved_statistics(options, results),
                                             campaign.memory_limit_bytes, bindings);
  campaign.executor_settings["external"] = external_settings(job, scratch_folder(results));
  campaign.max_attempts = whole_number(options, "max-attempts", kHighestAttempts,
                                       job.max_attempts.value_or(campaign.max_attempts));
  campaign.threads =
      whole_number(options, "threads", kHighestThreads, job.threads.value_or(campaign.threads));
  campaign.device = device_kind(options, job.device.value_or(campaign.device));
  if (campaign.device != "cuda") {  // the limit is of executors on CPUs
    check_memory_limit(job);
  }
  if (job.stall_timeout_s) {
    campaign.stall_timeout = std::chrono::seconds(*job.stall_timeout_s);
  }
  campaign.inline_executor = options.has("inline");
  campaign.quiet = options.has("quiet");
  campaign.log_folder = results / "logs";
  return campaign;
}

// Methods of the job whose merges one executor makes whatever `shards` is.
std::set<std::string> unsharded_methods(const JobSpec& job) {
  std::set<std::string> names;
  for (const auto& grid : job.methods) {
    if (!can_be_sharded(method_registry().at(grid.method).card)) {
      names.insert(grid.method);
    }
  }
  return names;
}

RunInfo run_info(const Invocation& in, const Plan& plan, const CampaignOptions& campaign,
                 const std::map<std::string, std::string>& bindings) {
  nlohmann::json provenance = launch_provenance(in.argv, *in.transport);
  provenance["job"] = plan.job.file.string();
  provenance["job_text"] = plan.job.text;
  provenance["cells"] = plan.cells.size();
  provenance["expert_sets"] = merged_sets(plan.job, plan.zoos);
  provenance["device"] = campaign.device;
  provenance["threads"] = campaign.threads;
  provenance["shards"] = plan.job.shards;
  if (plan.job.shards > 1) {
    provenance["merged_on_one_executor"] = unsharded_methods(plan.job);
  }
  if (plan.published) {
    provenance["published"] = published_record(plan.published->text, plan.published->name);
  }
  provenance["inline"] = campaign.inline_executor;
  for (const auto& [text, zoo] : plan.zoos) {
    provenance["zoos"][zoo.name] = {{"folder", zoo.folder.string()}, {"pack", zoo.pack.string()}};
  }
  return {.kind = "grid",
          .plan_sha256 = plan.sha256,
          .provenance = std::move(provenance),
          .bindings = bindings,
          .methods = method_records(plan.cells),
          .tasks = task_records(plan.job, plan.cells, plan.zoos)};
}

bool failed_or_invalid(const Result& result) {
  return result.status != Status::kValid;
}

std::vector<std::string> names_of(const std::vector<Cell>& cells) {
  std::vector<std::string> names;
  for (const auto& cell : cells) {
    names.push_back(cell.name());
  }
  return names;
}

// The recorded cells of the job that --forget finds, dropped from `recorded`. UsageError where it finds none.
std::vector<std::string> take_forgotten(const Options& options, const Plan& plan,
                                        std::map<std::string, Result>& recorded) {
  std::vector<std::string> names;
  if (!options.has("forget")) {
    return names;
  }
  const auto regex = options.get<std::string>("forget");
  for (const auto& name : names_of(only_matching(plan.cells, regex, "--forget"))) {
    if (recorded.erase(name) > 0) {
      names.push_back(name);
    }
  }
  if (names.empty()) {
    throw UsageError("--forget '" + regex + "' finds none of the job's recorded cells; 'fusegrid cells " +
                     plan.job.file.string() + "' prints the names of all");
  }
  return names;
}

// Whether the next launch runs a recorded cell again without being asked: it failed for a reason outside itself, or
// would be made from something else now.
bool is_open(const Cell& cell, const Result& result) {
  return result.status == Status::kFailed && (result.transient || result.bindings != cell_bindings(cell));
}

// Valid, but not evaluated on the test split.
bool is_only_validated(const Result& result) {
  return result.status == Status::kValid && !splits_of(result).contains("test");
}

// The cells without a result, those that failed through no fault of theirs, with `retry_failed` all whose result is
// worth nothing, and with `test_all` those that were only validated.
std::vector<Cell> cells_to_run(const std::vector<Cell>& cells, const std::map<std::string, Result>& recorded,
                               bool retry_failed, bool test_all) {
  std::vector<Cell> left;
  for (const auto& cell : cells) {
    const auto found = recorded.find(cell.name());
    if (found == recorded.end() || is_open(cell, found->second) ||
        (retry_failed && failed_or_invalid(found->second)) ||
        (test_all && is_only_validated(found->second))) {
      left.push_back(cell);
    }
  }
  return left;
}

void print_totals(std::ostream& out, const JobTotals& totals, int workers, int64_t shards) {
  std::vector<std::string> header{"method", "merges", "cells", "recorded", "estimated"};
  if (shards > 1) {
    header.emplace_back("shards");
  }
  TextTable table(header);
  const auto add = [&](const std::string& name, const MethodTotals& row, const std::string& row_shards) {
    std::vector<std::string> texts{name, number_text(row.merges), number_text(row.cells),
                                   number_text(row.recorded), duration_text(row.cost_s)};
    if (shards > 1) {
      texts.push_back(row_shards);
    }
    table.add(texts);
  };
  for (const auto& [method, row] : totals.methods) {
    add(method, row, number_text(row.shards));
  }
  add("all", totals.all, "");
  out << table.text() << "\nestimated time     " << duration_text(totals.all.cost_s / workers + totals.read_s)
      << " on " << count_text(workers, "worker") << "\nmemory per worker  "
      << bytes_text(totals.worker_memory_bytes) << "\nto read            " << bytes_text(totals.read_bytes)
      << " (models and task packs, once per worker)\n";
  if (shards > 1) {
    out << "shards             " << shards
        << ": so many workers make a merge together, and read its models in every pass; "
        << "a method with 1 needs data or whole models, and one worker merges it\n";
    if (shards > workers) {
      out << "                   there " << (workers == 1 ? "is " : "are ") << count_text(workers, "worker")
          << ": start it with mpirun -n " << shards + 1 << " or more\n";
    }
  }
}

// A rank that is alone works itself.
int workers(const Invocation& in) {
  return std::max(1, in.transport->size() - 1);
}

ExitCode dry_run(Invocation& in, const Options& options, const Plan& plan, const std::vector<Cell>& cells,
                 const std::filesystem::path& results) {
  Records records = recorded_in(results);
  auto& recorded = records.results;
  const auto bindings = launch_bindings(plan.job, plan.cells, plan.zoos);
  check_bindings(records, run_info(in, plan, campaign_options(options, plan, results, bindings), bindings));
  take_forgotten(options, plan, recorded);
  check_fresh(plan.cells, recorded);
  CostModel model;
  learn(model, recorded);
  const Estimator estimator(plan.sizes, model, plan.job.shards);
  const auto left = cells_to_run(cells, recorded, options.has("retry-failed"), !plan.job.tests_chosen_only);
  for (const auto& cell : left) {
    recorded.erase(cell.name());
  }
  if (options.has("verbose")) {
    for (const auto& cell : left) {
      in.out << cell.name() << "\n";
    }
    in.out << "\n";
  }
  print_totals(in.out, totals(plan.job, cells, recorded, plan.zoos, estimator), workers(in), plan.job.shards);
  in.out << "dry run: " << count_text(static_cast<int64_t>(left.size()), "cell") << " to run into "
         << results.string() << ", nothing was started\n";
  return ExitCode::kOk;
}

// Failed and invalid cells of this job in the folder, each with the command that runs it again.
int64_t print_failures(std::ostream& err, const std::vector<Cell>& cells,
                       const std::map<std::string, Result>& results, const JobSpec& job,
                       const std::filesystem::path& folder) {
  int64_t failures = 0;
  for (const auto& cell : cells) {
    const auto found = results.find(cell.name());
    if (found != results.end() && failed_or_invalid(found->second)) {
      ++failures;
      err << to_string(found->second.status) << ": " << cell.name() << ": " << found->second.reason
          << "\n  again: " << rerun_line(job.file.string(), folder, cell.name()) << "\n";
    }
  }
  return failures;
}

// Both return whether the run was stopped.
bool run_all(Invocation& in, ResultStore& store, const CampaignOptions& campaign, const Estimator& estimator,
             const std::vector<Cell>& cells) {
  std::vector<Item> items;
  for (const auto& cell : cells) {
    items.push_back(estimator.item(cell));
  }
  return run_campaign(*in.transport, store, items, campaign).stopped;
}

// `test = chosen`: what there is to choose among is validated first, and then what was chosen is tested, together with
// what needs no choice; before either the experts alone, whose scores make tasks of several metrics comparable. cells:
// all that were asked for; left: those to run.
bool run_choosing(Invocation& in, ResultStore& store, CampaignOptions campaign, const Estimator& estimator,
                  const std::vector<Cell>& cells, const std::vector<Cell>& left) {
  const auto swept = swept_cells(cells);
  std::vector<Cell> own, compared, tested;
  for (const auto& cell : left) {
    (swept.contains(cell.name()) ? compared : cell.method == kOwnScores ? own : tested).push_back(cell);
  }
  if (!own.empty() && run_all(in, store, campaign, estimator, own)) {
    return true;
  }
  const auto both_splits = campaign.executor_settings.at("splits");
  campaign.executor_settings["splits"] = {"val"};
  if (!compared.empty() && run_all(in, store, campaign, estimator, compared)) {
    return true;
  }
  const auto chosen = chosen_untested_cells(store.records());
  std::copy_if(cells.begin(), cells.end(), std::back_inserter(tested),
               [&](const Cell& cell) { return chosen.contains(cell.name()); });
  campaign.executor_settings["splits"] = both_splits;
  if (!campaign.quiet && !chosen.empty()) {
    in.err << "fusegrid: validation has chosen; " << count_text(static_cast<int64_t>(tested.size()), "cell")
           << " to test\n";
  }
  return run_all(in, store, campaign, estimator, tested);
}

// Settings are compared over tasks of several metrics by what the experts alone reach on them.
void check_choice(const Plan& plan, const std::vector<TaskRecord>& tasks) {
  if (!plan.job.tests_chosen_only || swept_cells(plan.cells).empty() ||
      std::any_of(plan.cells.begin(), plan.cells.end(),
                  [](const Cell& cell) { return cell.method == kOwnScores; })) {
    return;
  }
  for (const TaskRecord& task : tasks) {
    const TaskRecord& first =
        *std::find_if(tasks.begin(), tasks.end(), [&](const auto& other) { return other.zoo == task.zoo; });
    if (task.metric != first.metric || task.better != first.better || task.unit != first.unit) {
      throw ConfigError(plan.job.file.string() +
                        ": 'test = chosen' compares settings on tasks of several metrics (" + first.task +
                        ": " + first.metric + ", " + task.task + ": " + task.metric +
                        ") by the scores of the experts alone, so the job needs the section [" + kOwnScores +
                        "], or 'test = all'");
    }
  }
}

ExitCode run_cells(Invocation& in, const Options& options, const Plan& plan, const std::vector<Cell>& cells,
                   const std::filesystem::path& results) {
  check_workers(plan.job, workers(in));
  const auto bindings = launch_bindings(plan.job, plan.cells, plan.zoos);
  CampaignOptions campaign = campaign_options(options, plan, results, bindings);
  const RunInfo launch = run_info(in, plan, campaign, bindings);
  Records records = recorded_in(results);
  check_bindings(records, launch);
  check_choice(plan, launch.tasks);
  for (const auto& [text, zoo] : plan.zoos) {
    record_pack_digest(zoo, in.err);
  }
  const auto forgotten = take_forgotten(options, plan, records.results);
  check_fresh(plan.cells, records.results);
  auto store = ResultStore::open(results, launch);
  store->record_plan(plan.job.file.stem().string(), names_of(plan.cells));
  for (const auto& examples : examples_records(plan.cells, plan.zoos, store->records())) {
    store->record_examples(examples);
  }
  store->forget(forgotten);
  std::filesystem::create_directories(results / "logs");
  std::filesystem::remove_all(scratch_folder(results));  // of a run that was killed
  if (store->runs().size() > 1 && store->runs()[store->runs().size() - 2].plan_sha256 != plan.sha256) {
    in.err << "fusegrid: " << results.string()
           << " holds results of another list of cells; this job's are added to them\n";
  }
  CostModel model;
  learn(model, store->results());
  const Estimator estimator(plan.sizes, model, plan.job.shards);
  ExampleCounts counts(plan.job, store->results());
  campaign.judge = [&counts](Result& result) { counts.judge(result); };
  const auto left =
      cells_to_run(cells, store->results(), options.has("retry-failed"), !plan.job.tests_chosen_only);
  if (!campaign.quiet) {
    if (!forgotten.empty()) {
      in.err << "fusegrid: forgot " << count_text(static_cast<int64_t>(forgotten.size()), "recorded result")
             << "\n";
    }
    in.err << "fusegrid: " << count_text(static_cast<int64_t>(left.size()), "cell") << " to run, "
           << cells.size() - left.size() << " recorded in " << results.string() << "\n";
  }
  const bool stopped = plan.job.tests_chosen_only ? run_choosing(in, *store, campaign, estimator, cells, left)
                                                  : run_all(in, *store, campaign, estimator, left);
  std::filesystem::remove_all(scratch_folder(results));
  const int64_t failures = print_failures(in.err, cells, store->results(), plan.job, results);
  store.reset();  // the lock
  if (stopped) {
    in.err << "fusegrid: stopped early; what is recorded is safe, the same command continues\n";
    return ExitCode::kStopped;
  }
  report_results({results}, results, in);
  return failures > 0 ? ExitCode::kCellsFailed : ExitCode::kOk;
}

}  // namespace

ExitCode run_job(Invocation& in) {
  Options options = run_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::filesystem::path job_file = options.argument("JOB");
  const Plan plan = make_plan(job_file);
  const std::vector<Cell> cells = selected_cells(plan, options);
  const std::filesystem::path results = results_folder(options, job_file);
  return options.has("dry-run") ? dry_run(in, options, plan, cells, results)
                                : run_cells(in, options, plan, cells, results);
}

}  // namespace fusegrid
