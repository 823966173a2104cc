#include "report/timeline.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <utility>

#include "core/cell.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

// A result that says when it was made.
struct TimedCell {
  const Result* result = nullptr;
  Cell cell;
  double begin = 0, end = 0, evaluate = 0;
};

// Seconds since 1970 of "2026-01-31T12:00:00Z"; 0 where it is none.
double epoch_of(const RunInfo& run) {
  const std::string text = run.provenance.is_object() ? run.provenance.value("started", std::string()) : "";
  std::tm time{};
  return strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time) == nullptr ? 0
                                                                       : static_cast<double>(timegm(&time));
}

// The last launch that had started when the cell began.
size_t launch_of(const std::vector<double>& starts, double begin) {
  size_t launch = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    launch = starts[i] <= begin ? i : launch;
  }
  return launch;
}

std::string what_of(const Cell& cell) {
  const std::string shift = cell.shift == "clean" ? "" : "@" + cell.shift;
  return cell.zoo + "/experts=" + cell.experts + "/" + cell.method_text() +
         "/seed=" + std::to_string(cell.seed) + shift;
}

void add_span(Timeline& timeline, const Timeline::Span& span) {
  constexpr double kPause = 0.5;  // shorter ones do not show
  if (span.end <= span.begin) {
    return;
  }
  if (!timeline.spans.empty()) {
    Timeline::Span& last = timeline.spans.back();
    if (last.lane == span.lane && last.what == span.what && last.phase == span.phase &&
        span.begin - last.end < kPause) {
      last.end = span.end;
      return;
    }
  }
  timeline.spans.push_back(span);
}

Timeline timeline_of(size_t launch, const std::map<std::string, std::vector<TimedCell>>& by_worker) {
  Timeline timeline;
  timeline.title = "launch " + std::to_string(launch);
  double first = by_worker.begin()->second.front().begin;
  double last = first;
  for (const auto& [worker, cells] : by_worker) {
    first = std::min(first, cells.front().begin);
    last = std::max(last, cells.back().end);
  }
  timeline.seconds = last - first;
  for (const auto& [worker, cells] : by_worker) {
    const size_t lane = timeline.lanes.size();
    timeline.lanes.push_back({worker, static_cast<int64_t>(cells.size()), 0});
    for (const TimedCell& cell : cells) {
      const double merged = std::max(cell.begin, cell.end - cell.evaluate);
      timeline.lanes.back().busy += cell.end - cell.begin;
      const std::string what = what_of(cell.cell);
      add_span(timeline, {lane, cell.begin - first, merged - first, what, "merge"});
      add_span(timeline, {lane, merged - first, cell.end - first, what, "evaluate"});
    }
  }
  return timeline;
}

}  // namespace

double Timeline::efficiency() const {
  double busy = 0;
  for (const Lane& lane : lanes) {
    busy += lane.busy;
  }
  return seconds > 0 ? busy / (static_cast<double>(lanes.size()) * seconds) : 0;
}

std::vector<Timeline> make_timelines(const Records& records) {
  std::vector<double> starts;
  for (const RunInfo& run : records.runs) {
    starts.push_back(epoch_of(run));
  }
  std::map<size_t, std::map<std::string, std::vector<TimedCell>>> launches;
  for (const auto& [name, result] : records.results) {
    const auto began = result.costs.find("began_s");
    const auto ended = result.costs.find("ended_s");
    if (began == result.costs.end() || ended == result.costs.end() || result.worker.empty() ||
        ended->second < began->second) {
      continue;
    }
    const auto evaluate = result.costs.find("evaluate_s");
    launches[launch_of(starts, began->second)][result.worker].push_back(
        {&result, Cell::parse(name), began->second, ended->second,
         evaluate == result.costs.end() ? 0 : evaluate->second});
  }
  std::vector<Timeline> timelines;
  for (auto& [launch, workers] : launches) {
    for (auto& [worker, cells] : workers) {
      std::sort(cells.begin(), cells.end(),
                [](const TimedCell& a, const TimedCell& b) { return a.begin < b.begin; });
    }
    timelines.push_back(timeline_of(launch, workers));
  }
  return timelines;
}

ReportTable lane_table(const Timeline& timeline) {
  ReportTable table;
  table.columns = {{"Rank", false}, {"Cells"}, {"Busy, s"}, {"Busy, %"}};
  const auto add = [&](const std::string& title, int64_t cells, double busy, double share) {
    table.lines.push_back({"",
                           {{title},
                            {std::to_string(cells), static_cast<double>(cells)},
                            {fixed(busy, 1), busy},
                            {percent(share), share}}});
  };
  int64_t cells = 0;
  double busy = 0;
  for (const Timeline::Lane& lane : timeline.lanes) {
    add(lane.title, lane.cells, lane.busy, timeline.seconds > 0 ? lane.busy / timeline.seconds : 0);
    cells += lane.cells;
    busy += lane.busy;
  }
  add("all", cells, busy, timeline.efficiency());
  return table;
}

}  // namespace fusegrid
