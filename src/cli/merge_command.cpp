// fusegrid merge: merges checkpoint folders, by all ranks of the job together.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iostream>

#include <ATen/Parallel.h>

#include "cli/commands.h"
#include "cli/merge_options.h"
#include "cli/merge_stages.h"
#include "cli/print.h"
#include "cli/provenance.h"
#include "comm/agreement.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "merge/manifest.h"
#include "merge/merge.h"
#include "merge/pipeline.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

constexpr double kAssumedRate = 1e9;  // bytes per second and rank, for the estimate

// Ranks on this host and the place of this one among them.
std::pair<int, int> place_on_host(Collectives& group, const std::string& host) {
  const auto hosts = all_gather_bytes(group, host);
  const auto before = std::count(hosts.begin(), hosts.begin() + group.rank(), host);
  return {static_cast<int>(before), static_cast<int>(std::count(hosts.begin(), hosts.end(), host))};
}

void print_plan(std::ostream& out, const MergePlan& plan, int ranks) {
  const double bytes = static_cast<double>(plan.read_bytes) * static_cast<double>(plan.passes) +
                       static_cast<double>(plan.write_bytes);
  TextTable table({"", ""});
  table.add({"models", (plan.models.base != nullptr ? "base and " : "") +
                           count_text(static_cast<int64_t>(plan.spec.experts.size()), "expert")});
  table.add({"tensors", number_text(static_cast<int64_t>(plan.inputs.reference().tensors().size()))});
  table.add({"passes over the models", number_text(plan.passes)});
  table.add({"to read", bytes_text(plan.read_bytes) + " a pass"});
  table.add({"to write",
             bytes_text(plan.write_bytes) + " in " +
                 count_text(static_cast<int64_t>(plan.outputs.size() * plan.layout.shards.size()), "file")});
  table.add({"memory per rank", bytes_text(plan.memory_bytes)});
  table.add({"ranks", number_text(int64_t{ranks})});
  if (plan.unfinished) {
    table.add({"continues", count_text(static_cast<int64_t>(*plan.unfinished), "file") + " of " +
                                plan.spec.out.string() + ".partial " +
                                (*plan.unfinished == 1 ? "is" : "are") + " finished"});
  }
  table.add({"estimated time", duration_text(bytes / kAssumedRate / ranks) + " at 1 GB/s a rank"});
  out << table.text(false);
  for (const MergeOutput& output : plan.outputs) {
    const MergeMethod& call = plan.spec.methods[output.method];
    out << "  " << (plan.spec.out / output.folder).string() << "  <-  " << call.name
        << (call.parts.empty()
                ? "{" + method_registry().at(call.name).canonical(call.parameters) + "}"
                : " with " + count_text(static_cast<int64_t>(call.parts.size()), "set") + " of parameters")
        << (output.task.empty() ? "" : " for " + output.task) << "\n";
  }
}

ExitCode verify(Invocation& in, const std::string& folder) {
  if (in.transport->rank() > 0) {
    return ExitCode::kOk;
  }
  bool equal = true;
  for (const VerifiedFolder& verified : verify_merged(folder)) {
    for (const auto& difference : verified.differences) {
      in.err << difference.folder.string() << ": tensor '" << difference.tensor << "' " << difference.what
             << "\n";
    }
    equal &= verified.differences.empty();
    in.out << verified.folder.string() << ": " << count_text(static_cast<int64_t>(verified.tensors), "tensor")
           << (verified.differences.empty() ? ", all as in the manifest\n" : "\n");
  }
  return equal ? ExitCode::kOk : ExitCode::kDataCorrupt;
}

std::function<void(double)> progress_lines(Invocation& in, const Options& options) {
  return [&in, quiet = options.has("quiet"), last = std::chrono::steady_clock::now()](double share) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (!quiet && now - last > std::chrono::seconds(5)) {
      last = now;
      in.err << "fusegrid: " << static_cast<int>(100 * share) << " % of this pass\n";
    }
  };
}

// made: "1 model", "2 pipelines"
void print_report(Invocation& in, const Options& options, const MergeReport& report,
                  const std::filesystem::path& out, const std::string& made) {
  print_notes(in, options, report.notes);
  if (options.has("quiet")) {
    return;
  }
  const double bytes = static_cast<double>(report.bytes_read + report.bytes_written);
  if (report.continued_files > 0) {
    in.out << "continued: " << count_text(static_cast<int64_t>(report.continued_files), "file")
           << " had been finished before\n";
  }
  in.out << out.string() << ": " << made << ", " << count_text(report.passes, "pass") << ", read "
         << bytes_text(report.bytes_read) << ", wrote " << bytes_text(report.bytes_written) << " in "
         << duration_text(report.seconds) << " ("
         << number_text(std::round(bytes / report.seconds / 1e8) / 10) << " GB/s), buffers "
         << bytes_text(report.buffer_bytes) << " a rank\n";
}

constexpr auto kDryRunEnd = "dry run: everything fits together; nothing was read or written\n";

ExitCode merge(Invocation& in, const Options& options, Collectives& group, const MergeSpec& spec,
               const LocalInputs* local) {
  const MergePlan plan = on_all_ranks(group, [&] { return plan_merge(spec, local); });
  print_notes(in, options, plan.notes);
  if (options.has("dry-run")) {
    print_plan(in.out, plan, group.size());
    in.out << kDryRunEnd;
    return ExitCode::kOk;
  }
  const MergeReport report =
      run_merge(plan, group, launch_provenance(in.argv, *in.transport), progress_lines(in, options));
  print_report(in, options, report, plan.spec.out,
               count_text(static_cast<int64_t>(plan.outputs.size()), "model"));
  return ExitCode::kOk;
}

ExitCode merge_components(Invocation& in, const Options& options, Collectives& group, const MergeSpec& spec) {
  const PipelinePlan plan = on_all_ranks(group, [&] { return plan_pipeline(spec); });
  print_notes(in, options, plan.notes);
  if (options.has("dry-run")) {
    for (const PipelinePlan::Part& part : plan.merged) {
      in.out << part.component << (part.is_made ? " (made by an interrupted run)\n" : "\n");
      print_plan(in.out, part.plan, group.size());
    }
    in.out << count_text(static_cast<int64_t>(plan.copied.size() + plan.made.size()), "file")
           << " copied beside them\n"
           << kDryRunEnd;
    return ExitCode::kOk;
  }
  const MergeReport report =
      run_pipeline(plan, group, launch_provenance(in.argv, *in.transport), progress_lines(in, options));
  const auto& outputs = plan.merged.front().plan.outputs;
  print_report(in, options, report, plan.spec.out,
               count_text(static_cast<int64_t>(outputs.size()), "pipeline") + " of " +
                   count_text(static_cast<int64_t>(plan.merged.size()), "merged component"));
  return ExitCode::kOk;
}

ExitCode merge(Invocation& in, const Options& options, Collectives& group) {
  const auto place = place_on_host(group, in.transport->host());
  const MergeSpec spec = on_all_ranks(group, [&] { return read_merge_spec(options, place); });
  const int share = share_of_cores(place.second);
  if (usable_cores() < share && group.rank() == 0 && !options.has("quiet")) {
    in.err << "fusegrid: rank 0 is bound to " << count_text(usable_cores(), "core")
           << ", but its share of the host is " << share << ", so reading and hashing take longer; "
           << kMoreCores << "\n";
  }
  if (options.has("mergekit")) {
    return merge_stages(in, options, group, spec,
                        [&](const MergeSpec& stage) { return merge(in, options, group, stage, nullptr); });
  }
  if (merges_pipeline(spec)) {
    return merge_components(in, options, group, spec);
  }
  if (spec.components || !spec.keep.empty()) {
    throw UsageError("--components and --keep choose among the components of a pipeline, but '" +
                     (spec.base ? *spec.base : spec.experts.front().path).string() +
                     "' has no model_index.json; leave them out, or give the folder of the pipeline");
  }
  if (!spec.inputs_are_local || group.size() == 1) {
    return merge(in, options, group, spec, nullptr);
  }
  LocalInputs local(spec, group);
  try {
    const ExitCode code = merge(in, options, group, spec, &local);
    local.finish();
    return code;
  } catch (const AgreedError&) {
    local.finish();  // ranks may still be asking each other
    throw;
  }
}

}  // namespace

ExitCode merge_checkpoints(Invocation& in) {
  Options options = merge_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  at::set_num_threads(1);  // sums of a whole tensor must not depend on the number of threads
  if (options.has("verify")) {
    return verify(in, options.get<std::string>("verify"));
  }
  const auto group = in.transport->size() > 1 ? mpi_collectives(0) : local_collectives();
  try {
    return merge(in, options, *group);
  } catch (const AgreedError&) {
    throw;  // on all ranks
  } catch (const std::exception& error) {
    if (group->size() > 1) {  // the others wait for this rank
      std::cerr << "fusegrid: error: rank " << group->rank() << ": " << error.what() << std::endl;
      in.transport->abort(static_cast<int>(ExitCode::kIo));
    }
    throw;
  }
}

}  // namespace fusegrid
