// fusegrid zoo build and zoo pretrain: train a zoo's models as items of campaigns, bases first.

#include "cli/zoo_build.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include <boost/program_options/value_semantic.hpp>

#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "cli/provenance.h"
#include "cli/reference.h"
#include "coordinator/campaign.h"
#include "coordinator/job_file.h"
#include "core/count_text.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "store/result_store.h"
#include "tasks/suite.h"
#include "zoo/build.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

constexpr int64_t kMostSeeds = 100;

// Of what both commands have.
Options build_options(const std::string& name, const std::string& doc,
                      const std::vector<std::string>& examples) {
  Options options(name, doc, examples);
  const auto text = [](const char* value) { return po::value<std::string>()->value_name(value); };
  options.argument("RECIPE", "which models; 'fusegrid list recipes' tells about them",
                   recipe_registry().names());
  options.add()("scale", text("SCALE")->required(), "one of the recipe's, for example small")(
      "seeds", text("SEEDS")->default_value("0"), "one seed or FIRST..LAST")(
      "out", text("DIR"),
      "folder of the zoo (default: RECIPE-SCALE, of adapters RECIPE-SCALE-loraRANK, in $FUSEGRID_ZOOS or "
      "./zoos)")("pack", text("FILE"),
                 "task pack (default: that of the scale's suite, which comes with the program or is in "
                 "$FUSEGRID_CACHE)")(
      "pool", text("FILE"),
      "pretraining pool, only for training bases (default: the recipe's in $FUSEGRID_CACHE)")(
      "set", po::value<std::vector<std::string>>()->value_name("OPTION=VALUE"),
      "replace an option of the recipe, for example expert_steps=20; may be repeated; 'fusegrid describe "
      "RECIPE' lists "
      "them")("retry-failed", "train models again that failed")("device", text("KIND")->default_value("auto"),
                                                                "auto, cpu or cuda")(
      "threads", po::value<int>()->value_name("N")->default_value(1), "CPU threads of a worker")(
      "max-attempts", po::value<int>()->value_name("N")->default_value(2), "attempts of a model")(
      "inline", "train in the ranks' own processes")("quiet,q", "no progress");
  return options;
}

// What cannot be read on the command line is a mistake in using it.
template <typename Read>
auto of_command_line(const Read& read) {
  try {
    return read();
  } catch (const ConfigError& error) {
    throw UsageError(error.what());
  }
}

std::vector<int64_t> seeds_of(const std::string& text) {
  const auto dots = text.find("..");
  const auto whole = [](const std::string& number) {
    return of_command_line([&] { return parse_int(number, "--seeds"); });
  };
  const int64_t first = whole(text.substr(0, dots));
  const int64_t last = dots == std::string::npos ? first : whole(text.substr(dots + 2));
  if (first < 0 || last < first || last - first >= kMostSeeds) {
    throw UsageError("--seeds must be a seed or FIRST..LAST, at most " + std::to_string(kMostSeeds) +
                     " of them, but it is '" + text + "'");
  }
  std::vector<int64_t> seeds;
  for (int64_t i = 0; i <= last - first; ++i) {  // no seed follows the largest number
    seeds.push_back(first + i);
  }
  return seeds;
}

nlohmann::json overrides_of(const Options& options) {
  auto overrides = nlohmann::json::object();
  for (const auto& entry : options.get_or<std::vector<std::string>>("set", {})) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos) {
      throw UsageError("--set takes OPTION=VALUE, but it is '" + entry + "'");
    }
    overrides[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  for (const std::string option : {"head", "lora"}) {
    if (options.has(option)) {
      overrides[option] = options.get<std::string>(option);
    }
  }
  return overrides;
}

// Zoos of adapters and of whole models have one base and stand side by side.
std::string default_name(const ZooPlan& plan) {
  std::string name = plan.recipe + "-" + plan.scale;
  for (const RecipeOption& option : options_of(plan)) {
    if (option.param.name == "lora" && option.param.value != "0") {
      name += "-lora" + option.param.value;
    }
  }
  return name;
}

bool makes_multitask(const Options& options) {
  const auto skipped = options.get_or<std::string>("skip", "");
  if (!skipped.empty() && skipped != "multitask") {
    throw UsageError("--skip must be multitask, but it is '" + skipped + "'");
  }
  return skipped.empty();
}

// The one that comes with the program, or else the one that its maker put into the cache.
std::filesystem::path default_pack(const Suite& suite) {
  const auto ours = data_folder() / suite.pack;
  return std::filesystem::exists(ours) ? ours : cache_folder() / suite.pack;
}

ZooPlan plan_of(const Options& options) {
  namespace fs = std::filesystem;
  ZooPlan plan;
  plan.recipe = options.argument("RECIPE");
  plan.scale = options.get<std::string>("scale");
  plan.overrides = overrides_of(options);
  options_of(plan);  // ConfigError before anything is written
  const Recipe& recipe = recipe_of(plan);
  plan.suite = recipe.scale(plan.scale).suite;
  const Suite& suite = suite_registry().at(plan.suite);
  for (const TaskCard& task : suite.tasks) {
    if (task.owner.empty()) {
      plan.tasks.push_back(task.name);
    } else {
      plan.more_tasks.emplace_back(task.name, task.owner);
    }
  }
  const fs::path out = options.get_or("out", (zoos_folder() / default_name(plan)).string());
  plan.folder = (fs::absolute(out).lexically_normal() / "").parent_path();  // "zoos/a/" is "zoos/a"
  check_name(plan.name(), "the name of a zoo, which is its folder's,");
  plan.pack = fs::absolute(options.get_or("pack", default_pack(suite).string()));
  if (!fs::exists(plan.pack)) {
    throw ConfigError("there is no task pack '" + plan.pack.string() +
                      "'; name one with --pack, or make that of " + suite.name + ": " + suite.source);
  }
  const std::string& pool = recipe_of(plan_of_bases(plan)).card.pool;
  if (pool.empty() && options.has("pool")) {
    throw ConfigError("bases of the recipe " + plan.recipe +
                      " are pretrained on the task pack alone; leave --pool out");
  }
  if (!pool.empty()) {
    plan.pool = fs::absolute(options.get_or("pool", (cache_folder() / pool).string()));
  }
  if (options.has("base")) {
    plan.published_base = fs::absolute(options.get<std::string>("base"));
  }
  plan.multitask = makes_multitask(options);
  return plan;
}

CampaignOptions campaign_options(const Options& options, const ZooPlan& plan) {
  CampaignOptions campaign;
  campaign.executor_kind = "zoo";
  campaign.executor_settings = to_settings(plan);
  campaign.max_attempts = whole_number(options, "max-attempts", kHighestAttempts, campaign.max_attempts);
  campaign.threads = whole_number(options, "threads", kHighestThreads, campaign.threads);
  campaign.device = device_kind(options, campaign.device);
  campaign.inline_executor = options.has("inline");
  campaign.quiet = options.has("quiet");
  campaign.log_folder = plan.folder / "build" / "logs";
  return campaign;
}

// The two campaigns of one zoo, on one store beside its models.
class ZooBuild {
 public:
  ZooBuild(Invocation& in, CampaignOptions campaign, bool retry_failed, const ZooPlan& plan,
           const std::vector<int64_t>& seeds);

  // Trains the items that have no valid result. False where some failed or the run was stopped; code() then
  // tells which.
  bool train(const std::vector<ZooItem>& items);
  ExitCode code() const { return code_; }
  // Recorded results of these items.
  std::vector<Result> results(const std::vector<ZooItem>& items) const;

 private:
  Invocation& in_;
  ZooPlan plan_;
  CampaignOptions campaign_;
  bool retry_failed_;
  std::unique_ptr<ResultStore> store_;
  ExitCode code_ = ExitCode::kOk;
};

ZooBuild::ZooBuild(Invocation& in, CampaignOptions campaign, bool retry_failed, const ZooPlan& plan,
                   const std::vector<int64_t>& seeds)
    : in_(in), plan_(plan), campaign_(std::move(campaign)), retry_failed_(retry_failed) {
  nlohmann::json provenance = launch_provenance(in.argv, *in.transport);
  provenance["settings"] = campaign_.executor_settings;
  provenance["device"] = campaign_.device;
  provenance["threads"] = campaign_.threads;
  Sha256 sha;
  for (const auto& items : {base_items(plan, seeds), model_items(plan, seeds)}) {
    for (const auto& item : items) {
      sha.update(item.name() + "\n");
    }
  }
  std::filesystem::create_directories(plan.folder);
  store_ = ResultStore::open(plan.folder / "build", {.kind = "zoo",
                                                     .plan_sha256 = sha.hex(),
                                                     .provenance = provenance,
                                                     .bindings = {},
                                                     .methods = {},
                                                     .tasks = {}});
  std::filesystem::create_directories(campaign_.log_folder);
}

bool ZooBuild::train(const std::vector<ZooItem>& items) {
  std::vector<Item> left;
  for (const auto& item : items) {
    const auto found = store_->results().find(item.name());
    const bool recorded =
        found != store_->results().end() && std::filesystem::exists(item_folder(plan_, item));
    if (!recorded || found->second.transient || (retry_failed_ && found->second.status != Status::kValid)) {
      left.push_back({.name = item.name(), .group = item.name(), .cost_s = estimated_seconds(plan_, item)});
    }
  }
  if (run_campaign(*in_.transport, *store_, left, campaign_).stopped) {
    in_.err << "fusegrid: stopped early; what is trained is safe, the same command continues\n";
    code_ = ExitCode::kStopped;
    return false;
  }
  for (const auto& result : results(items)) {
    if (result.status != Status::kValid) {
      in_.err << to_string(result.status) << ": " << result.name << ": " << result.reason
              << "\n  again: the same command with --retry-failed\n";
      code_ = ExitCode::kCellsFailed;
    }
  }
  return code_ == ExitCode::kOk;
}

std::vector<Result> ZooBuild::results(const std::vector<ZooItem>& items) const {
  std::vector<Result> found;
  for (const auto& item : items) {
    if (const auto result = store_->results().find(item.name()); result != store_->results().end()) {
      found.push_back(result->second);
    }
  }
  return found;
}

// Seeds of a zoo that is there already stay in it.
std::vector<int64_t> with_existing(const ZooPlan& plan, std::vector<int64_t> seeds) {
  if (std::filesystem::exists(plan.folder / "zoo.json")) {
    for (const auto& replicate : Zoo::read(plan.folder).replicates) {
      seeds.push_back(replicate.seed);
    }
    std::sort(seeds.begin(), seeds.end());
    seeds.erase(std::unique(seeds.begin(), seeds.end()), seeds.end());
  }
  return seeds;
}

void check_existing(const ZooPlan& plan, const std::vector<int64_t>& seeds, bool from_scratch, bool models) {
  std::set<std::string> recorded;
  const Records records = recorded_in(plan.folder / "build");
  for (const auto& [name, result] : records.results) {
    if (result.status == Status::kValid) {
      recorded.insert(name);
    }
  }
  std::vector<ZooItem> to_train;
  if (from_scratch) {
    to_train = base_items(plan, seeds);
  }
  if (models) {
    const auto items = model_items(plan, seeds);
    to_train.insert(to_train.end(), items.begin(), items.end());
  }
  check_existing_models(plan, seeds, to_train, recorded);
}

// What the bases of `seeds` are, before anything is trained; those that are to be trained.
std::vector<int64_t> prepare_bases(const ZooPlan& plan, const std::vector<int64_t>& seeds,
                                   bool from_scratch) {
  check_tasks(plan);
  const auto to_pretrain = from_scratch ? seeds : place_bases(plan, seeds);
  if (!to_pretrain.empty()) {
    check_pool(plan);
  }
  for (const int64_t seed : seeds) {
    if (std::find(to_pretrain.begin(), to_pretrain.end(), seed) == to_pretrain.end()) {
      check_base(plan, seed);
    }
  }
  return to_pretrain;
}

// Everything that the zoo may have, whatever this command leaves out.
std::vector<ZooItem> all_items(ZooPlan plan, const std::vector<int64_t>& seeds) {
  plan.multitask = true;
  std::vector<ZooItem> items = base_items(plan, seeds);
  const auto models = model_items(plan, seeds);
  items.insert(items.end(), models.begin(), models.end());
  return items;
}

// `models`: experts and multi-task models too, not only bases.
ExitCode build(Invocation& in, const Options& options, bool from_scratch, bool models) {
  const ZooPlan plan = plan_of(options);
  const CampaignOptions campaign = campaign_options(options, plan);  // UsageError before anything is written
  const auto seeds = with_existing(plan, seeds_of(options.get<std::string>("seeds")));
  check_existing(plan, seeds, from_scratch, models);
  const auto to_pretrain = prepare_bases(plan, seeds, from_scratch);
  ZooBuild campaigns(in, campaign, options.has("retry-failed"), plan, seeds);
  if (!campaigns.train(base_items(plan, to_pretrain))) {
    return campaigns.code();
  }
  if (!models) {
    in.out << count_text(static_cast<int64_t>(to_pretrain.size()), "base") << " in " << plan.folder.string()
           << "\n";
    return ExitCode::kOk;
  }
  if (!campaigns.train(model_items(plan, seeds))) {
    return campaigns.code();
  }
  in.out << zoo_text(finish(plan, seeds, campaigns.results(all_items(plan, seeds))));
  return ExitCode::kOk;
}

}  // namespace

ExitCode build_zoo(Invocation& in) {
  Options options = build_options("zoo build",
                                  "Fine-tunes the experts and the multi-task model of a zoo on any number of "
                                  "ranks. The bases come with the "
                                  "program, or are trained with --from-scratch, or, for scales that start "
                                  "from a published model, lie in --base. The "
                                  "same command continues what was stopped.",
                                  {"fusegrid zoo build embedded --scale small",
                                   "mpirun -n 3 fusegrid zoo build text --scale small --skip multitask",
                                   "mpirun -n 5 fusegrid zoo build embedded --scale medium --seeds 0..2"});
  options.add()("from-scratch", "train the bases too, instead of taking those that come with the program")(
      "base", po::value<std::string>()->value_name("DIR"),
      "published base, for scales whose bases are not trained here")(
      "skip", po::value<std::string>()->value_name("multitask"),
      "leave out the multi-task model, which only the row of that name needs")(
      "head", po::value<std::string>()->value_name("KIND"),
      "the same as --set head=KIND, for recipes of text")(
      "lora", po::value<std::string>()->value_name("RANK"),
      "the same as --set lora=RANK, for recipes that can train adapters");
  return options.parse(in) ? build(in, options, options.has("from-scratch"), true) : ExitCode::kOk;
}

ExitCode pretrain_zoo(Invocation& in) {
  Options options =
      build_options("zoo pretrain", "Trains the bases of a zoo from the pretraining pool, and nothing else.",
                    {"fusegrid zoo pretrain text --scale small --seeds 0..2 --pool pool.h5"});
  return options.parse(in) ? build(in, options, true, false) : ExitCode::kOk;
}

}  // namespace fusegrid
