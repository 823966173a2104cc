#include "report/leaderboard.h"

#include <ostream>
#include <set>
#include <utility>

#include "core/cell.h"
#include "core/errors.h"
#include "core/files.h"
#include "report/board.h"
#include "report/published.h"
#include "report/published_writers.h"
#include "report/writers.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

Records read_records(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "journal")) {
    const auto store = ResultStore::read(folder);
    if (!store->runs().empty() && store->runs().back().kind != "grid") {
      throw ConfigError("results of a grid are needed, but " + folder.string() + " holds those of kind '" +
                        store->runs().back().kind + "'; give the results folder of `fusegrid run`");
    }
    return store->records();
  }
  if (!std::filesystem::exists(folder / "results.h5")) {
    throw ConfigError("a results folder has a journal or a results.h5, but " + folder.string() +
                      " has neither; give the results folder of `fusegrid run`");
  }
  return read_results_h5(folder / "results.h5");
}

// What is missing of the plans, in a sentence; "" where nothing is.
std::string unfinished(const Records& records) {
  const std::vector<std::string> missing = records.missing();
  if (missing.empty()) {
    return "";
  }
  std::set<std::string> boards;
  std::set<std::string> begun;
  for (const std::string& name : records.planned()) {
    const Cell cell = Cell::parse(name);
    const std::string board = cell.zoo + "/" + cell.experts + "@" + cell.shift;
    boards.insert(board);
    if (records.results.contains(name)) {
      begun.insert(board);
    }
  }
  std::string text = std::to_string(missing.size()) + " of " + std::to_string(records.planned().size()) +
                     " planned cells have no result yet";
  const size_t absent = boards.size() - begun.size();
  text += absent == 0 ? ""
                      : ", and " + std::to_string(absent) + " of " + std::to_string(boards.size()) +
                            " boards have none at all";
  return text + ": rows below may change. The command of the run continues it.";
}

}  // namespace

Records grid_records(const std::filesystem::path& folder) {
  Records records = read_records(folder);
  if (records.results.empty()) {
    throw ConfigError("results of a grid are needed, but " + folder.string() +
                      " holds none yet; start or continue the run first");
  }
  return records;
}

void write_report(const std::filesystem::path& results, const std::filesystem::path& out,
                  std::ostream& print) {
  const Records records = grid_records(results);
  const std::vector<Board> boards = make_boards(records);
  std::vector<Board> shown;
  const std::vector<bool> drawn = drawn_boards(records, boards);
  for (size_t i = 0; i < boards.size(); ++i) {
    if (!drawn[i]) {
      shown.push_back(boards[i]);
    }
  }
  const std::filesystem::path published = results / "results.h5";
  const ReportFacts facts{
      .metrics_sha256 = std::filesystem::exists(published) ? metrics_sha256(published) : "",
      .unfinished = unfinished(records),
      .draws = make_draws(records, boards)};
  const std::string markdown = markdown_report(shown, facts);
  std::filesystem::create_directories(out);
  write_atomically(out / "leaderboard.md", markdown);
  write_atomically(out / "leaderboard.csv", csv_report(boards));
  if (!facts.draws.empty()) {
    write_atomically(out / "draws.csv", csv_draws(facts.draws));
  }
  write_atomically(out / "settings.csv", csv_settings(boards));
  write_atomically(out / "leaderboard.tex", latex_report(shown, facts));
  write_atomically(out / "timings.md", markdown_timings(shown));
  write_atomically(out / "timings.csv", csv_timings(boards));
  print << markdown;
}

ExitCode write_published_report(const std::filesystem::path& results, const std::filesystem::path& out,
                                std::ostream& print) {
  const std::vector<ComparedBoard> boards = compare_with_published(grid_records(results));
  const std::string markdown = markdown_published(boards);
  std::filesystem::create_directories(out);
  write_atomically(out / "published.md", markdown);
  write_atomically(out / "published.csv", csv_published(boards));
  write_atomically(out / "published.tex", latex_published(boards));
  print << markdown;
  return outcome_of(boards);
}

}  // namespace fusegrid
