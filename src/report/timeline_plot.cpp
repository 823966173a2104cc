#include <algorithm>

#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/plot_parts.h"

namespace fusegrid {

using nlohmann::json;

Plot timeline_plot(const Timeline& timeline, const std::string& id) {
  std::vector<std::string> lanes;
  for (const Timeline::Lane& lane : timeline.lanes) {
    lanes.push_back(lane.title);
  }
  std::string csv = csv_record({"rank", "begin", "end", "phase", "what"});
  for (const Timeline::Span& span : timeline.spans) {
    csv += csv_record({lanes[span.lane], fixed(span.begin, 2), fixed(span.end, 2), span.phase, span.what});
  }
  Plot plot = begin_plot(id, "Timeline of " + timeline.title,
                         "What each of " + std::to_string(lanes.size()) + " ranks did in " +
                             fixed(timeline.seconds, 0) + " seconds of " + timeline.title + "; " +
                             percent(timeline.efficiency()) + " % of their time was work.",
                         csv, {"begin", "end"}, {"rank", "phase", "what"},
                         std::max(60, 26 * static_cast<int>(lanes.size())));
  json x = field("begin", "quantitative", "Seconds");
  json y = field("rank", "nominal", "");
  y["sort"] = lanes;
  y["axis"] = {{"title", nullptr}, {"labelLimit", 220}};
  json colour = field("phase", "nominal", "");
  colour["scale"] = {{"domain", {"merge", "evaluate"}}, {"range", {"#d55e00", "#56b4e9"}}};
  colour["legend"] = {{"orient", "bottom"}, {"title", nullptr}};
  plot.spec["mark"] = {{"type", "bar"}};
  plot.spec["encoding"] = {
      {"x", x},
      {"x2", {{"field", "end"}}},
      {"y", y},
      {"color", colour},
      {"tooltip", json::array({field("what", "nominal", "Cells"), field("phase", "nominal", "Phase"),
                               field("rank", "nominal", "Rank"), field("begin", "quantitative", "From, s"),
                               field("end", "quantitative", "to, s")})}};
  return plot;
}

}  // namespace fusegrid
