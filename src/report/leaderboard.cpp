#include "report/leaderboard.h"

#include <ostream>
#include <set>
#include <utility>

#include "core/cell.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/text.h"
#include "report/board.h"
#include "report/page.h"
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

namespace {

std::string name_of(const std::filesystem::path& folder) {
  return std::filesystem::absolute(folder / "").lexically_normal().parent_path().filename().string();
}

std::vector<ReportPart> read_parts(const std::vector<std::filesystem::path>& folders) {
  std::vector<ReportPart> parts;
  std::set<std::string> names;
  for (const std::filesystem::path& folder : folders) {
    ReportPart& part = parts.emplace_back(ReportPart{name_of(folder), grid_records(folder), {}, {}});
    if (!names.insert(part.name).second) {
      throw ConfigError("a report names boards after their results folders, but two are called '" +
                        part.name + "'; rename one, or give it once");
    }
    part.boards = make_boards(part.records);
    for (Board& board : part.boards) {
      board.source = folders.size() == 1 ? "" : part.name;
    }
    const std::vector<bool> drawn = drawn_boards(part.records, part.boards);
    for (size_t i = 0; i < part.boards.size(); ++i) {
      if (!drawn[i]) {
        part.shown.push_back(part.boards[i]);
      }
    }
  }
  return parts;
}

ReportFacts facts_of(const std::vector<std::filesystem::path>& folders,
                     const std::vector<ReportPart>& parts) {
  std::vector<std::string> digests;
  std::vector<std::string> missing;
  std::vector<Draws> all_draws;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string before = parts.size() == 1 ? "" : parts[i].name + ": ";
    const std::filesystem::path published = folders[i] / "results.h5";
    if (std::filesystem::exists(published)) {
      digests.push_back(before + metrics_sha256(published));
    }
    if (const std::string text = unfinished(parts[i].records); !text.empty()) {
      missing.push_back(before + text);
    }
    for (Draws& draws : make_draws(parts[i].records, parts[i].boards)) {
      draws.zoo = before + draws.zoo;
      all_draws.push_back(std::move(draws));
    }
  }
  return {
      .metrics_sha256 = join(digests, ", "), .unfinished = join(missing, " "), .draws = std::move(all_draws)};
}

}  // namespace

bool write_report(const std::vector<std::filesystem::path>& results, const std::filesystem::path& out,
                  const std::filesystem::path& libraries, std::ostream& print) {
  const std::vector<ReportPart> parts = read_parts(results);
  const ReportFacts facts = facts_of(results, parts);
  std::vector<Board> boards;
  std::vector<Board> shown;
  for (const ReportPart& part : parts) {
    boards.insert(boards.end(), part.boards.begin(), part.boards.end());
    shown.insert(shown.end(), part.shown.begin(), part.shown.end());
  }
  const std::string markdown = markdown_report(shown, facts);
  std::filesystem::create_directories(out);
  write_atomically(out / "leaderboard.md", markdown);
  write_atomically(out / "leaderboard.csv", csv_report(boards));
  if (!facts.draws.empty()) {
    write_atomically(out / "draws.csv", csv_draws(facts.draws));
  }
  write_atomically(out / "settings.csv", csv_settings(boards));
  write_atomically(out / "cells.csv", csv_cells(parts));
  write_atomically(out / "leaderboard.tex", latex_report(shown, facts));
  write_atomically(out / "costs.md", markdown_costs(shown));
  write_atomically(out / "costs.csv", csv_costs(boards));
  const bool has_libraries = is_there(libraries / "plots.js");
  if (has_libraries) {
    write_atomically(out / "report.html", html_page(parts, facts, read_page_libraries(libraries)));
  } else {
    std::filesystem::remove(out / "report.html");
  }
  print << markdown;
  return has_libraries;
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
