#include "merge/pipeline.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <system_error>

#include "comm/agreement.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/posix_file.h"
#include "merge/manifest.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

fs::path partial_of(const PipelinePlan& plan) {
  return plan.spec.out.string() + ".partial";
}

void copy_synced(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) {
    throw IoError("cannot copy '" + from.string() + "' to '" + to.string() + "': " + error.message());
  }
  fs::permissions(to, fs::perms::owner_write, fs::perm_options::add, error);
  PosixFile::update(to).sync();
}

std::string pipeline_text(const PipelinePlan& plan, const nlohmann::json& provenance) {
  nlohmann::json text = {{"format", 1}, {"kept", plan.kept}, {"made_by", provenance}};
  for (const auto& part : plan.merged) {
    text["merged"][part.component] = {{"manifest", part.component + "/" + kManifestFile},
                                      {"identity", sha256_hex(part.plan.identity)}};
  }
  return text.dump(1) + "\n";
}

// Everything but what is merged, in the folder of one result.
void write_rest(const PipelinePlan& plan, const fs::path& folder, const nlohmann::json& provenance) {
  std::set<fs::path> folders{folder};
  const auto place = [&](const std::string& name) {
    const fs::path path = folder / name;
    fs::create_directories(path.parent_path());
    folders.insert(path.parent_path());
    return path;
  };
  for (const auto& [name, from] : plan.copied) {
    if (!plan.made.contains(name)) {
      copy_synced(from, place(name));
    }
  }
  for (const auto& [name, content] : plan.made) {
    write_synced(place(name), content);
  }
  write_synced(place(kPipelineFile), pipeline_text(plan, provenance));
  for (const fs::path& path : folders) {
    sync_folder(path);
  }
}

// Renames come last, close together: an interruption before them costs nothing that is merged.
void assemble(const PipelinePlan& plan, const nlohmann::json& provenance) {
  const fs::path result = partial_of(plan) / "result";
  fs::remove_all(result);
  const auto& outputs = plan.merged.front().plan.outputs;
  for (const MergeOutput& output : outputs) {
    const fs::path folder = output.folder.empty() ? result : result / output.folder;
    fs::create_directories(folder);
    write_rest(plan, folder, provenance);
  }
  for (const MergeOutput& output : outputs) {
    for (const auto& part : plan.merged) {
      const fs::path& made = part.plan.spec.out;
      rename_synced(output.folder.empty() ? made : made / output.folder,
                    result / output.folder / part.component);
    }
  }
  if (fs::exists(plan.spec.out)) {
    fs::remove(plan.spec.out);  // an empty folder: the plan has checked that
  }
  rename_synced(result, plan.spec.out);
  fs::remove_all(partial_of(plan));
}

void on_first_rank(Collectives& group, const std::function<void()>& work) {
  on_all_ranks(group, [&] {
    if (group.rank() == 0) {
      work();
    }
  });
}

void add_report(MergeReport& all, const MergeReport& one, const std::string& component) {
  all.passes = std::max(all.passes, one.passes);
  all.bytes_read += one.bytes_read;
  all.bytes_written += one.bytes_written;
  all.buffer_bytes = std::max(all.buffer_bytes, one.buffer_bytes);
  all.continued_files += one.continued_files;
  for (const std::string& note : one.notes) {
    all.notes.push_back(component + ": " + note);
  }
}

}  // namespace

MergeReport run_pipeline(const PipelinePlan& plan, Collectives& group, const nlohmann::json& provenance,
                         const std::function<void(double share)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  group.barrier();  // until every rank has its plan: a plan looks at what is there, and now things appear
  on_first_rank(group, [&] {
    fs::create_directories(partial_of(plan) / "components");
    for (const auto& part : plan.merged) {
      if (!part.is_made) {
        fs::remove_all(part.plan.spec.out);
      }
    }
  });
  MergeReport report;
  try {
    for (const auto& part : plan.merged) {
      if (part.is_made) {
        report.continued_files += part.plan.outputs.size() * part.plan.layout.shards.size();
      } else {
        add_report(report, run_merge(part.plan, group, provenance, progress), part.component);
      }
    }
  } catch (const AgreedError& error) {
    if (error.code() == ExitCode::kDataCorrupt) {  // the result would be no pipeline: nothing of it is kept
      on_first_rank(group, [&] { fs::remove_all(partial_of(plan)); });
    }
    throw;
  }
  on_first_rank(group, [&] { assemble(plan, provenance); });
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace fusegrid
