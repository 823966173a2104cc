#include "cli/merge_stages.h"

#include "cli/merge_job.h"
#include "comm/agreement.h"
#include "core/digest.h"
#include "core/errors.h"
#include "merge/manifest.h"
#include "merge/merge.h"
#include "merge/mergekit/stages.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

bool inputs_are_there(const mergekit::Stage& stage, const mergekit::MadeModels& made) {
  for (const mergekit::YamlValue& model : stage.document.all_models()) {
    if (made.contains(model.text) && !fs::exists(made.at(model.text))) {
      return false;
    }
  }
  return true;
}

// Whether the folder of a stage was made by just this merge; a folder of another one is left to plan_merge() to refuse.
bool is_made(const MergeSpec& spec) {
  const auto identity = identity_in_manifest(spec.out);
  if (!identity) {
    return false;
  }
  MergeSpec again = spec;
  again.out += ".again";  // a plan wants a new folder; nothing is written
  return sha256_hex(plan_merge(again).identity) == *identity;
}

void print_job(std::ostream& out, const mergekit::Stage& stage, const MergeSpec& spec) {
  const NativeJob job = native_job(spec);
  if (job.text.empty()) {
    out << "# " << stage.out.string() << " has no job file: " << job.why_not << "\n";
  } else {
    out << "# " << stage.out.string() << "\n" << job.text;
  }
}

}  // namespace

ExitCode merge_stages(Invocation& in, const Options& options, Collectives& group, const MergeSpec& common,
                      const std::function<ExitCode(const MergeSpec&)>& merge) {
  const bool talks = group.rank() == 0 && !options.has("quiet");
  const auto stages = on_all_ranks(
      group, [&] { return mergekit::read_stages(options.get<std::string>("mergekit"), common.out); });
  for (const mergekit::Stage& stage : stages.order) {
    if (!on_all_ranks(group, [&] { return inputs_are_there(stage, stages.made); })) {
      in.out << stage.out.string()
             << ": reads results that are not there yet, and is checked when they are\n";
      continue;
    }
    MergeSpec spec = on_all_ranks(group, [&] {
      MergeSpec own = common;
      own.out = stage.out;
      return mergekit::translated(stage.document, stages.made, own);
    });
    if (options.has("print-job")) {
      if (group.rank() == 0) {
        print_job(in.out, stage, spec);
      }
      continue;
    }
    if (stages.order.size() > 1 && on_all_ranks(group, [&] { return is_made(spec); })) {
      if (talks) {
        in.out << stage.out.string() << ": is there, made of the same inputs\n";
      }
      continue;
    }
    if (const ExitCode code = merge(spec); code != ExitCode::kOk) {
      return code;
    }
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
