#include <algorithm>
#include <map>
#include <utility>

#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/plot_parts.h"
#include "report/table_layout.h"
#include "report/tables.h"

namespace fusegrid {
namespace {

using nlohmann::json;

constexpr size_t kColours = 8;  // that can be told apart, also by the colour-blind: Okabe and Ito's
constexpr const char* kRest = "others";

// The colour, shape and dash of a line: the first of `titles` have one each, the others share a grey one.
json line_style(const std::vector<std::string>& titles, const std::string& name) {
  std::vector<std::string> shown(titles.begin(),
                                 titles.begin() + static_cast<int64_t>(std::min(titles.size(), kColours)));
  json range =
      json::array({"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a900", "#7f7f7f"});
  range.erase(range.begin() + static_cast<int64_t>(shown.size()), range.end());
  if (titles.size() > kColours) {
    shown.emplace_back(kRest);
    range.push_back("#bbbbbb");
  }
  json colour = field(name, "nominal", "");
  colour["scale"] = {{"domain", shown}, {"range", range}};
  colour["legend"] = {{"orient", "bottom"},     {"columns", 2},       {"title", nullptr},
                      {"symbolType", "circle"}, {"symbolOpacity", 1}, {"labelLimit", 150}};
  return colour;
}

std::string series_name(const std::vector<std::string>& titles, size_t line) {
  return line < kColours || line >= titles.size() ? titles[line] : kRest;
}

json band_layer(const json& x, const json& colour) {
  json y = field("low", "quantitative", "");
  y.erase("title");
  return {{"mark", {{"type", "area"}, {"opacity", 0.15}}},
          {"transform", json::array({{{"filter", "isValid(datum.low)"}}})},
          {"encoding",
           {{"x", x},
            {"y", y},
            {"y2", {{"field", "high"}}},
            {"color", colour},
            {"detail", {{"field", "method"}, {"type", "nominal"}}}}}};
}

// Lines of averages with their intervals against what `x` is the axis of.
//   x_texts     the points of `lines`, as they are written in the column that x["field"] names
//   description  ends the sentence
Plot series_plot(const std::string& id, const std::string& title, const std::string& description,
                 const Score& score, const std::vector<Scaling::Line>& lines, const json& x,
                 const std::vector<std::string>& x_texts) {
  const auto column = x.at("field").get<std::string>();
  std::vector<std::string> titles;
  for (const Scaling::Line& line : lines) {
    titles.push_back(line.title);
  }
  std::string csv = csv_record({"method", "series", column, "score", "low", "high"});
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t point = 0; point < x_texts.size(); ++point) {
      if (const auto& average = lines[i].average[point]) {
        const auto& interval = lines[i].interval[point];
        csv += csv_record({titles[i], series_name(titles, i), x_texts[point], number_text(*average),
                           csv_bound(interval, &Interval::low), csv_bound(interval, &Interval::high)});
      }
    }
  }
  Plot plot =
      begin_plot(id, title, "Averages of " + std::to_string(lines.size()) + " methods against " + description,
                 csv, {column, "score", "low", "high"}, {"method", "series"}, 300);
  const json colour = line_style(titles, "series");
  const json points{
      {"mark", {{"type", "line"}, {"point", {{"filled", true}, {"size", 45}}}, {"strokeWidth", 2}}},
      {"encoding",
       {{"x", x},
        {"y", score_axis(score)},
        {"color", colour},
        {"detail", {{"field", "method"}, {"type", "nominal"}}},
        {"order", {{"field", column}, {"type", "quantitative"}}},
        {"tooltip", json::array({field("method", "nominal", "Method"), x, score_tip(score),
                                 score_tip(score, "low", "95 % from"), score_tip(score, "high", "to")})}}}};
  plot.spec["transform"] = json::array({{{"filter", "isValid(datum.score)"}}});
  plot.spec["layer"] = json::array({band_layer(x, colour), points});
  return plot;
}

// "gaussian_noise" and 3 of "gaussian_noise-3"; a shift without a severity has 1.
std::pair<std::string, std::string> severity_of(const std::string& shift) {
  const size_t dash = shift.rfind('-');
  const std::string end = dash == std::string::npos ? "" : shift.substr(dash + 1);
  const bool is_number = !end.empty() && end.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::pair(shift.substr(0, dash), end) : std::pair(shift, std::string("1"));
}

}  // namespace

std::vector<Plot> path_plots(const Board& board, const std::string& id) {
  const std::vector<Path> paths = make_paths(board);
  if (paths.empty()) {
    return {};
  }
  std::vector<std::string> titles;
  for (const Path& path : paths) {
    titles.push_back(path_title(paths, path));
  }
  const bool losses =
      std::all_of(paths.begin(), paths.end(), [](const Path& path) { return path.loss_barrier.has_value(); });
  std::string csv = csv_record({"path", "series", "t", "score", "loss"});
  for (size_t i = 0; i < paths.size(); ++i) {
    for (const Path::Point& point : paths[i].points) {
      csv += csv_record({titles[i], series_name(titles, i), number_text(point.t), number_text(point.score),
                         losses ? number_text(point.loss) : ""});
    }
  }
  std::vector<Plot> plots;
  const json x = field("t", "quantitative", "t");
  const auto add = [&](const std::string& name, const std::string& title, const std::string& value, json y) {
    Plot plot = begin_plot(id + name, title,
                           title + " of " + std::to_string(paths.size()) +
                               " paths between two models, t from 0 to 1: " + board_title(board) + ".",
                           csv, {"t", "score", "loss"}, {"path", "series"}, 280);
    y["field"] = value;
    json tip = y;
    tip.erase("axis");
    tip.erase("scale");
    plot.spec["mark"] = {{"type", "line"}, {"point", {{"filled", true}, {"size", 35}}}};
    plot.spec["encoding"] = {{"x", x},
                             {"y", y},
                             {"color", line_style(titles, "series")},
                             {"detail", {{"field", "path"}, {"type", "nominal"}}},
                             {"tooltip", json::array({field("path", "nominal", "Path"), x, tip})}};
    plots.push_back(std::move(plot));
  };
  add("-path", "Score along the path", "score", score_axis(board.score));
  if (losses) {
    json y = field("loss", "quantitative", "Loss, nats");
    y["scale"] = {{"zero", false}};
    add("-path-loss", "Loss along the path", "loss", std::move(y));
  }
  return plots;
}

Plot scaling_plot(const Scaling& scaling, const std::string& id) {
  std::vector<std::string> x;
  for (const int64_t experts : scaling.experts) {
    x.push_back(std::to_string(experts));
  }
  json axis = field("experts", "quantitative", "Merged experts");
  axis["scale"] = {{"zero", false}, {"nice", false}};
  axis["axis"] = {{"values", scaling.experts}, {"format", "d"}, {"labelOverlap", true}};
  return series_plot(id, scaling_title(scaling),
                     "the number of experts, with 95 % intervals as bands: " + scaling.zoo + ".",
                     scaling.score, scaling.lines, axis, x);
}

Plot size_plot(const SizeSeries& series, const std::string& id) {
  std::vector<std::string> x;
  for (const double parameters : series.parameters) {
    x.push_back(number_text(parameters));
  }
  json axis = field("parameters", "quantitative", "Numbers of one model (log)");
  axis["scale"] = {{"type", "log"}, {"nice", false}, {"padding", 20}};
  axis["axis"] = {{"format", ".2~s"}, {"values", series.parameters}};
  return series_plot(id, "Averages against the size of a model",
                     "the size of a model, with 95 % intervals as bands: " + size_title(series) + ".",
                     series.score, series.lines, axis, x);
}

std::vector<Plot> robustness_plots(const Robustness& robustness, const std::string& id) {
  std::map<std::string, std::vector<size_t>> kinds;  // of shifts
  for (size_t shift = 0; shift < robustness.shifts.size(); ++shift) {
    kinds[severity_of(robustness.shifts[shift]).first].push_back(shift);
  }
  std::vector<Plot> plots;
  for (const auto& [kind, members] : kinds) {
    std::vector<std::string> x{"0"};
    std::vector<Scaling::Line> lines;
    for (const Robustness::Line& line : robustness.lines) {
      Scaling::Line& points = lines.emplace_back();
      points.title = line.title;
      points.average.push_back(line.clean);
      points.interval.push_back(line.intervals[0]);
      for (const size_t shift : members) {
        points.average.push_back(line.shifted[shift]);
        points.interval.push_back(line.intervals[shift + 1]);
      }
    }
    for (const size_t shift : members) {
      x.push_back(severity_of(robustness.shifts[shift]).second);
    }
    json axis = field("severity", "quantitative", "Severity (0: not shifted)");
    axis["axis"] = {{"format", "d"}, {"tickMinStep", 1}};
    plots.push_back(series_plot(id + "-" + std::to_string(plots.size()), kind,
                                "the severity of the shift " + kind + ", with 95 % intervals as bands: " +
                                    robustness_table(robustness).title + ".",
                                robustness.score, lines, axis, x));
  }
  return plots;
}

}  // namespace fusegrid
