#include "cli/adapter_options.h"

#include <chrono>
#include <cmath>
#include <cstdio>

#include "cli/build_facts.h"
#include "coordinator/job_file.h"
#include "core/errors.h"
#include "core/text.h"
#include "worker/device.h"

namespace fusegrid {

namespace po = boost::program_options;

po::typed_value<std::string>* text_value(const char* name) {
  return po::value<std::string>()->value_name(name);
}

void add_cut_options(Options& options, const std::string& rank) {
  options.add()("rank", po::value<int64_t>()->value_name("R"), rank.c_str());
  options.add()("energy", po::value<double>()->value_name("E"),
                "of the sum of squared singular values that each module keeps, in (0, 1]; with --rank the "
                "smaller rank counts");
  options.add()("alpha", po::value<double>()->value_name("A"),
                "lora_alpha that is written; the factors make up for it (default: the largest rank)");
}

void add_common_adapter_options(Options& options) {
  options.add()("base-name", text_value("NAME"),
                "base_model_name_or_path that is written, such as the id of a hub");
  options.add()("device", text_value("KIND")->default_value("cpu"), "auto, cpu or cuda");
  options.add()(
      "threads", po::value<int>()->value_name("N"),
      "matrices that are decomposed at once, each in about eight copies of float64 (default: all cores)");
  options.add()("follow-links", "files may be links to other folders, as to a shared store");
  options.add()("quiet,q", "print errors only");
}

std::string needed_text(const Options& options, const std::string& command, const std::string& option,
                        const std::string& meaning) {
  if (!options.has(option)) {
    throw UsageError("'fusegrid adapter " + command + "' needs --" + option + ", " + meaning);
  }
  return options.get<std::string>(option);
}

adapters::RankRule rule_of(const Options& options) {
  adapters::RankRule rule;
  if (options.has("rank")) {
    rule.rank = options.get<int64_t>("rank");
  }
  if (options.has("energy")) {
    rule.energy = options.get<double>("energy");
  }
  adapters::check_rule(rule, INT64_MAX, "");
  return rule;
}

std::optional<double> alpha_of(const Options& options) {
  if (!options.has("alpha")) {
    return std::nullopt;
  }
  const auto alpha = options.get<double>("alpha");
  if (!(alpha > 0) || !std::isfinite(alpha)) {
    throw UsageError("--alpha must be above 0, but it is " + number_text(alpha));
  }
  return alpha;
}

at::Device adapter_device(const Options& options) {
  return open_device(choose_device(device_kind(options, "cpu"), 0, 1, HostDevices::here()));
}

int adapter_threads(const Options& options) {
  return whole_number(options, "threads", kHighestThreads, usable_cores());
}

std::function<void(double share)> progress_printer(Invocation& in, const Options& options) {
  const bool quiet = options.has("quiet");
  return [&in, quiet, last = std::chrono::steady_clock::now()](double share) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (!quiet && now - last > std::chrono::seconds(5)) {
      last = now;
      in.err << "fusegrid: " << static_cast<int>(100 * share) << " % of this pass\n";
    }
  };
}

std::string percent(double share) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.2f %%", 100 * share);
  return digits;
}

std::string module_table(const std::vector<adapters::ExtractedModule>& modules) {
  TextTable table({"module", "matrix", "rank", "missing"});
  for (const adapters::ExtractedModule& module : modules) {
    table.add({module.name, number_text(module.shape[0]) + " x " + number_text(module.shape[1]),
               number_text(module.rank),
               module.norm > 0 ? percent(module.error_norm / module.norm) : std::string("unchanged")});
  }
  return table.text();
}

nlohmann::json program_record() {
  const BuildFacts& build = build_facts();
  return {{"program", build.version}, {"git", build.revision + (build.dirty ? "-dirty" : "")}};
}

}  // namespace fusegrid
