#include "report/leaderboard.h"

#include <fstream>
#include <ostream>
#include <utility>

#include <unistd.h>

#include "core/errors.h"
#include "report/board.h"
#include "report/writers.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

std::map<std::string, Result> read_results(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "journal")) {
    const auto store = ResultStore::read(folder);
    if (!store->runs().empty() && store->runs().back().kind != "grid") {
      throw ConfigError("a leaderboard is made from a grid's results, but " + folder.string() +
                        " holds those of kind '" + store->runs().back().kind +
                        "'; give the results folder of `fusegrid run`");
    }
    return store->results();
  }
  if (!std::filesystem::exists(folder / "results.h5")) {
    throw ConfigError("a report needs a folder with a journal or a results.h5, but " + folder.string() +
                      " has neither; give the results folder of `fusegrid run`");
  }
  return read_results_h5(folder / "results.h5").results;
}

// A reader never sees half a file.
void write_atomically(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::path temporary = path;
  temporary += ".tmp" + std::to_string(::getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  std::error_code error;
  if (file) {
    std::filesystem::rename(temporary, path, error);
  }
  if (!file || error) {
    std::error_code ignored;  // the first failure is the one to tell
    std::filesystem::remove(temporary, ignored);
    throw IoError("cannot write " + path.string() + (error ? ": " + error.message() : "") +
                  "; check its permissions and the free space");
  }
}

}  // namespace

void write_report(const std::filesystem::path& results, std::ostream& out) {
  const auto records = read_results(results);
  if (records.empty()) {
    throw ConfigError("a report needs results, but " + results.string() +
                      " holds none yet; start or continue the run first");
  }
  const std::vector<Board> boards = make_boards(records, registered_methods());
  const std::filesystem::path published = results / "results.h5";
  const std::string digest = std::filesystem::exists(published) ? metrics_sha256(published) : "";
  const std::string markdown = markdown_report(boards, digest);
  write_atomically(results / "leaderboard.md", markdown);
  write_atomically(results / "leaderboard.csv", csv_report(boards));
  write_atomically(results / "settings.csv", csv_settings(boards));
  write_atomically(results / "leaderboard.tex", latex_report(boards, digest));
  write_atomically(results / "timings.md", markdown_timings(boards));
  write_atomically(results / "timings.csv", csv_timings(boards));
  out << markdown;
}

}  // namespace fusegrid
