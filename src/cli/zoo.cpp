// fusegrid zoo: what is done with zoos of models. `build` and `pretrain` are in zoo_build.cpp.

#include "zoo/zoo.h"

#include <filesystem>
#include <map>
#include <vector>

#include <boost/program_options/value_semantic.hpp>

#include "cli/as_called.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/print.h"
#include "cli/reference.h"
#include "cli/zoo_build.h"
#include "core/alternatives.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

ExitCode list_command(Invocation& in) {
  Options options("zoo list", "Lists the zoos in $FUSEGRID_ZOOS (default: ./zoos).", {"fusegrid zoo list"});
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  in.args = {"zoos"};
  return print_list(in);
}

ExitCode show_command(Invocation& in) {
  Options options("zoo show", "Prints what zoo.json says: tasks, seeds, scores, digests.",
                  {"fusegrid zoo show embedded-small"});
  options.argument("ZOO", "name or folder");
  if (options.parse(in)) {
    in.out << zoo_text(find_zoo(options.argument("ZOO")));
  }
  return ExitCode::kOk;
}

ExitCode verify_command(Invocation& in) {
  Options options(
      "zoo verify",
      "Reads every file of a zoo again and compares digests, layouts and the task pack. Exit code 65 "
      "where something is wrong.",
      {"fusegrid zoo verify embedded-small"});
  options.argument("ZOO", "name or folder");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const Zoo zoo = find_zoo(options.argument("ZOO"));
  const auto faults = verify(zoo);
  for (const auto& fault : faults) {
    in.out << fault << "\n";
  }
  if (!faults.empty()) {
    throw DataError("zoo '" + zoo.name + "' has " + count_text(static_cast<int64_t>(faults.size()), "fault") +
                    " (listed above); build or import it again");
  }
  in.out << "zoo " << zoo.name
         << " is sound: " << count_text(static_cast<int64_t>(zoo.replicates.size()), "seed") << ", "
         << count_text(static_cast<int64_t>(zoo.tasks.size()), "task") << "\n";
  return ExitCode::kOk;
}

// "mnist=path/to/folder" -> task and folder
std::pair<std::string, std::filesystem::path> expert_of(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw UsageError("--expert takes TASK=FOLDER, but it is '" + text + "'");
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

Pooling pooling_of(const std::string& text) {
  for (const Pooling pooling : {Pooling::kFirst, Pooling::kLast, Pooling::kMean, Pooling::kNone}) {
    if (text == to_string(pooling)) {
      return pooling;
    }
  }
  throw UsageError("--pooling takes first, last, mean or none, but it is '" + text + "'");
}

ExitCode import_command(Invocation& in) {
  Options options(
      "zoo import",
      "Describes existing HuggingFace checkpoint folders as a zoo. Nothing is copied: the models stay "
      "where they are, zoo.json records their folders and digests.",
      {"fusegrid zoo import zoos/clip-b32 --scale vit-b-32 --suite embedded8 --base clip-vit-base-patch32 "
       "--heads heads.safetensors --pack pack.h5 --expert mnist=experts/mnist --expert "
       "fashion=experts/fashion"});
  const auto path = [] { return po::value<std::string>()->required(); };
  options.argument("FOLDER", "folder of the new zoo; its name is the zoo's name");
  options.add()("scale", path()->value_name("TEXT"), "model scale, for tables")(
      "suite", po::value<std::string>()->default_value("")->value_name("NAME"),
      "task suite (fusegrid list tasks); with --pack")("base", path()->value_name("DIR"),
                                                       "checkpoint folder of the base")(
      "heads", po::value<std::string>()->default_value("")->value_name("FILE"),
      "safetensors file with the frozen heads; none where the models make tokens themselves")(
      "pack", po::value<std::string>()->default_value("")->value_name("FILE"),
      "task pack; none where commands of jobs evaluate the models ([task:NAME])")(
      "expert", po::value<std::vector<std::string>>()->required()->value_name("TASK=DIR"),
      "checkpoint folder of one expert, which has the task's name; repeat it in the order of the experts")(
      "unseen", po::value<std::vector<std::string>>()->value_name("TASK"),
      "task of the pack without an expert, behind the others; may be repeated")(
      "pooling", po::value<std::string>()->default_value("first")->value_name("WORD"),
      "features that heads read: of the first or last token, or their mean; none: decoders read all")(
      "replace", "write over the zoo.json that is in FOLDER");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  if (options.get<std::string>("suite").empty() != options.get<std::string>("pack").empty()) {
    throw UsageError(
        "--suite names the tasks of --pack: give both, or none where jobs bring tasks of their own");
  }
  ImportRequest request{.folder = options.argument("FOLDER"),
                        .scale = options.get<std::string>("scale"),
                        .suite = options.get<std::string>("suite"),
                        .base = options.get<std::string>("base"),
                        .experts = {},
                        .heads = options.get<std::string>("heads"),
                        .pooling = pooling_of(options.get<std::string>("pooling")),
                        .pack = options.get<std::string>("pack"),
                        .replace = options.has("replace")};
  for (const auto& expert : options.get<std::vector<std::string>>("expert")) {
    request.experts.push_back(expert_of(expert));
  }
  if (options.has("unseen")) {
    for (const auto& task : options.get<std::vector<std::string>>("unseen")) {
      request.experts.emplace_back(task, std::filesystem::path());
    }
  }
  in.out << zoo_text(import_zoo(request));
  return ExitCode::kOk;
}

struct Subcommand {
  std::string name;
  std::string summary;
  ExitCode (*run)(Invocation& in);
};

const std::vector<Subcommand>& subcommands() {
  static const std::vector<Subcommand> all = {
      {"build", "fine-tune the experts and the multi-task model of a zoo", build_zoo},
      {"pretrain", "train the bases of a zoo", pretrain_zoo},
      {"list", "list the zoos at hand", list_command},
      {"show", "print tasks, seeds, scores and digests of a zoo", show_command},
      {"verify", "read every file again and compare digests", verify_command},
      {"import", "describe existing HuggingFace folders as a zoo", import_command},
  };
  return all;
}

}  // namespace

ExitCode manage_zoos(Invocation& in) {
  const std::string name = in.args.empty() ? "" : in.args.front();
  std::vector<std::string> known;
  for (const auto& subcommand : subcommands()) {
    if (subcommand.name == name) {
      in.args.erase(in.args.begin());
      return subcommand.run(in);
    }
    known.push_back(subcommand.name);
  }
  if (name == "--help" || name == "-h") {
    TextTable table({"", ""});
    for (const auto& subcommand : subcommands()) {
      table.add({"  " + subcommand.name, subcommand.summary});
    }
    in.out << as_called("Usage: fusegrid zoo COMMAND [options]\n\nCommands:\n") << table.text(false);
    return ExitCode::kOk;
  }
  if (name.empty()) {
    throw UsageError("'fusegrid zoo' needs one of the commands " + join(known, ", "));
  }
  throw UsageError("there is no command 'fusegrid zoo " + name + "'" + alternatives(name, known));
}

}  // namespace fusegrid
