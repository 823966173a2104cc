#include "cli/plan.h"

#include <set>

#include "cli/as_called.h"
#include "cli/print.h"
#include "coordinator/cell_data.h"
#include "coordinator/external_rows.h"
#include "coordinator/external_tasks.h"
#include "coordinator/rerun_hint.h"
#include "core/count_text.h"
#include "core/digest.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

// A damaged checkpoint is told now, not by every cell that would use it.
void check_models(const std::vector<Cell>& cells, const Zoo& zoo) {
  std::set<int64_t> checked;
  for (const Cell& cell : cells) {
    if (cell.zoo == zoo.name) {
      const Replicate& replicate = zoo.replicate(cell.seed);
      if (checked.insert(replicate.seed).second) {
        check_layouts(zoo, replicate);
      }
    }
  }
}

}  // namespace

Plan make_plan(const std::filesystem::path& job_file) {
  Plan plan;
  plan.job = read_job_file(job_file);
  plan.zoos = load_zoos(plan.job);
  plan.cells = expand(plan.job, plan.zoos);
  std::map<std::string, PackContents> packs;
  for (const auto& [text, zoo] : plan.zoos) {
    const PackContents& contents = packs[zoo.name] = pack_contents(zoo);
    check_data(plan.cells, zoo, contents);
    check_models(plan.cells, zoo);
    plan.sizes.emplace(zoo.name, zoo_size(zoo, contents));
  }
  plan.published = read_published_file(plan.job, packs);
  bind_external_rows(plan.job, plan.zoos, plan.cells);
  bind_external_tasks(plan.job, plan.cells);
  Sha256 sha;
  for (const auto& cell : plan.cells) {
    sha.update(cell.name() + "\n");
  }
  plan.sha256 = sha.hex();
  return plan;
}

std::vector<Cell> selected_cells(const Plan& plan, const Options& options) {
  if (!options.has("only")) {
    return plan.cells;
  }
  const auto regex = options.get<std::string>("only");
  std::vector<Cell> cells = only_matching(plan.cells, regex);
  if (cells.empty()) {
    throw UsageError("--only '" + regex + "' finds none of the job's " +
                     count_text(static_cast<int64_t>(plan.cells.size()), "cell") + "; 'fusegrid cells " +
                     shell_quoted(plan.job.file.string()) + "' prints their names");
  }
  return cells;
}

std::filesystem::path default_results(const std::filesystem::path& job_file) {
  return std::filesystem::path("results") / job_file.stem();
}

Records recorded_in(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "journal") && !std::filesystem::exists(folder / "results.h5")) {
    return {};
  }
  return ResultStore::read(folder)->records();
}

std::string rerun_line(const std::string& job_file, const std::filesystem::path& results,
                       const std::string& cell) {
  std::string line = as_called("fusegrid run ") + shell_quoted(job_file);
  if (results.lexically_normal() != default_results(job_file).lexically_normal()) {
    line += " --results " + shell_quoted(results.string());
  }
  return line + " " + rerun_hint(cell);
}

}  // namespace fusegrid
