// Makes results of about CELLS cells and prints how long their report takes and how large its page is.
//
//   report_speed LIBRARIES OUT [CELLS]    (LIBRARIES: of the page, the folder page-* in the cache of ./fusegrid)
//
// OUT, which is emptied, gets the results and the report: 14 boards of two sizes of a model, clean and under shifts, of
// 8 tasks and 2 seeds, methods with a swept parameter; some cells have failed. The last line is the row of
// docs/performance.md.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string>

#include "core/cell.h"
#include "core/errors.h"
#include "core/text.h"
#include "metrics/metric.h"
#include "report/leaderboard.h"
#include "store/guarded_reader.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kExamples = 200;
constexpr int64_t kGroup = 5;

// A number in [0, 1) that depends on the text alone.
double share_of(const std::string& text) {
  uint64_t hash = 1469598103934665603U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  return static_cast<double>(hash % 10007) / 10007;
}

std::string method_name(int64_t method) {
  return "method" + std::to_string(method);
}

RunInfo launch(const std::vector<std::string>& zoos, int64_t methods, int64_t tasks) {
  RunInfo run{
      "grid", "plan", {{"argv", {"report_speed"}}, {"started", "2026-01-01T00:00:00Z"}, {"git", "none"}},
      {},     {},     {}};
  for (int64_t i = 0; i < methods; ++i) {
    run.methods.push_back({method_name(i), "Method " + std::to_string(i), "-",
                           i == 0 ? "reference" : "averaging", i % 3 == 0 ? "train inputs" : "",
                           i % 5 == 4 ? "one model per task" : "one model", i % 5 == 4});
  }
  for (const std::string& zoo : zoos) {
    for (int64_t i = 0; i < tasks; ++i) {
      run.tasks.push_back(
          {zoo, "task" + std::to_string(i), "classify", "accuracy", "higher", "fraction", "Task"});
    }
  }
  return run;
}

Result made_up(const Cell& cell, const std::string& all, double quality, double began) {
  Result result;
  result.name = cell.name();
  result.bindings["parameters"] = all;
  result.worker = "host rank " + std::to_string(1 + static_cast<int>(4 * share_of(cell.without_task())));
  result.costs = {
      {"fuse_s", 0.2 + quality}, {"evaluate_s", 0.5}, {"began_s", began}, {"ended_s", began + 0.7}};
  if (share_of(result.name) < 0.001) {
    result.status = Status::kFailed;
    result.reason = "signal 9 (out of memory)";
    result.log_tail = "the last lines of its log";
    return result;
  }
  Outcomes outcomes{"test", "accuracy", 1, {}};
  double right = 0;
  for (int64_t i = 0; i < kExamples; ++i) {
    outcomes.rows.push_back(share_of(cell.task + std::to_string(i) + cell.method_text()) < quality ? 1 : 0);
    right += outcomes.rows.back();
  }
  result.metrics = {{"accuracy", "val", quality, 100},
                    {"accuracy", "test", right / kExamples, kExamples},
                    {"loss", "val", 1 - quality, 100},
                    {"loss", "test", 1 - quality, kExamples}};
  result.outcomes = {std::move(outcomes)};
  result.facts = {{"stored_parameters", cell.zoo == "made-large" ? "9000000" : "1000000"},
                  {"device", "none"}};
  return result;
}

int64_t make_results(const fs::path& folder, int64_t wanted) {
  const std::vector<std::string> zoos{"made-small", "made-large"};
  const std::vector<std::string> shifts{"clean", "fog-1", "fog-3", "fog-5", "noise-1", "noise-3", "noise-5"};
  constexpr int64_t kTasks = 8, kValues = 3, kSeeds = 2;
  const int64_t boards = static_cast<int64_t>(zoos.size() * shifts.size());
  const int64_t methods = std::max<int64_t>(2, wanted / (boards * kTasks * kValues * kSeeds));
  const auto store = ResultStore::open(folder, launch(zoos, methods, kTasks));
  for (const std::string& zoo : zoos) {
    for (int64_t task = 0; task < kTasks; ++task) {
      ExamplesRecord examples{zoo, "task" + std::to_string(task), "test", {}, {}};
      for (int64_t i = 0; i < kExamples; ++i) {
        examples.labels.push_back(0);
        examples.groups.push_back(static_cast<uint32_t>(i / kGroup));
      }
      store->record_examples(examples);
    }
  }
  int64_t cells = 0;
  for (const std::string& zoo : zoos) {
    for (const std::string& shift : shifts) {
      for (int64_t method = 0; method < methods; ++method) {
        for (int64_t value = 1; value <= kValues; ++value) {
          for (int64_t seed = 0; seed < kSeeds; ++seed) {
            for (int64_t task = 0; task < kTasks; ++task) {
              const std::string parameters = "scale=0." + std::to_string(value);
              const Cell cell{zoo,  "8", method_name(method), parameters, seed, "task" + std::to_string(task),
                              shift};
              const double quality = 0.3 + 0.5 * share_of(method_name(method)) + 0.1 * share_of(cell.name()) -
                                     (shift == "clean" ? 0 : 0.04 * (shift.back() - '0'));
              store->record(
                  made_up(cell, parameters, quality, 1767225600 + 0.25 * static_cast<double>(cells)));
              ++cells;
            }
          }
        }
      }
    }
  }
  store->flush();
  store->publish();
  return cells;
}

int measure(const fs::path& libraries, const fs::path& out, int64_t wanted) {
  fs::remove_all(out);
  const int64_t cells = make_results(out, wanted);
  const auto start = std::chrono::steady_clock::now();
  std::ostringstream printed;
  if (!write_report({out}, out, libraries, printed)) {
    std::printf("there are no libraries of the page in %s\n", libraries.c_str());
    return 1;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("| %ld cells | %.1f s | %.2f MB |\n", static_cast<long>(cells), seconds.count(),
              static_cast<double>(fs::file_size(out / "report.html")) / 1e6);
  return 0;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  if (const auto status = fusegrid::serve_guarded_reader(argc, argv)) {
    return *status;
  }
  if (argc < 3) {
    std::printf("usage: report_speed LIBRARIES OUT [CELLS]\n");
    return 1;
  }
  try {
    return fusegrid::measure(argv[1], argv[2], argc > 3 ? fusegrid::parse_int(argv[3], "CELLS") : 10000);
  } catch (const fusegrid::Error& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
