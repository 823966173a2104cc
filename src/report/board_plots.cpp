#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "core/params.h"
#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/plot_parts.h"
#include "report/table_layout.h"
#include "report/tables.h"

namespace fusegrid {
namespace {

using nlohmann::json;

struct Extent {
  double low = 0, high = 0;
};

// Of what a task's rows have; absent where none has a number.
std::optional<Extent> extent_of(const Board& board, size_t task) {
  std::optional<Extent> extent;
  for (const Row& row : board.rows) {
    if (const auto& value = row.by_task[task]) {
      extent = extent ? Extent{std::min(extent->low, *value), std::max(extent->high, *value)}
                      : Extent{*value, *value};
    }
  }
  return extent;
}

// Where the value lies between the worst (0) and the best (1).
double place_in(const Extent& extent, double value, Better better) {
  const double share = extent.high > extent.low ? (value - extent.low) / (extent.high - extent.low) : 1;
  return better == Better::kHigher ? share : 1 - share;
}

Plot heat_map(const Board& board, const std::string& id) {
  const std::vector<std::string> titles = unique_titles(board);
  std::optional<Extent> all;
  std::vector<std::optional<Extent>> extents;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    extents.push_back(extent_of(board, task));
    if (const auto& one = extents.back()) {
      all = all ? Extent{std::min(all->low, one->low), std::max(all->high, one->high)} : *one;
    }
  }
  std::string csv = csv_record({"method", "task", "value", "text", "place"});
  for (size_t row = 0; row < board.rows.size(); ++row) {
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      if (const auto& value = board.rows[row].by_task[task]) {
        const TaskMetric& metric = board.metrics[task];
        const double place = place_in(board.score.relative ? *extents[task] : *all, *value, metric.better);
        csv += csv_record({titles[row], board.tasks[task], number_text(*value),
                           value_text(value, metric.unit), fixed(place, 3)});
      }
    }
  }
  const std::string scale_text = board.score.relative
                                     ? "between the worst (0) and the best (1) row of each task"
                                     : "between the worst (0) and the best (1) number of the board";
  constexpr int kLine = 18;
  Plot plot = begin_plot(id + "-tasks", "Tasks by methods",
                         "Heat map of " + std::to_string(board.rows.size()) + " methods by " +
                             std::to_string(board.tasks.size()) + " tasks: " + board_title(board) +
                             ". Colours tell where a number lies " + scale_text + ".",
                         csv, {"value", "place"}, {"method", "task", "text"},
                         kLine * static_cast<int>(board.rows.size()));
  plot.least_width = 230 + 34 * static_cast<int>(board.tasks.size());
  json y = field("method", "nominal", "");
  y["sort"] = titles;
  y["axis"] = {{"title", nullptr}, {"labelLimit", 200}, {"domain", false}, {"ticks", false}};
  json x = field("task", "nominal", "");
  x["sort"] = board.tasks;
  x["axis"] = {
      {"title", nullptr}, {"orient", "top"}, {"labelAngle", -40}, {"domain", false}, {"ticks", false}};
  json colour = field("place", "quantitative", "worst to best");
  colour["scale"] = {{"scheme", "cividis"}, {"domain", {0, 1}}};
  colour["legend"] = {
      {"orient", "bottom"}, {"gradientLength", 140}, {"gradientThickness", 10}, {"values", {0, 0.5, 1}}};
  const json tip =
      json::array({field("method", "nominal", "Method"), field("task", "nominal", "Task"),
                   field("text", "nominal", "Number"), field("value", "quantitative", "exactly")});
  plot.spec["encoding"] = {{"x", x}, {"y", y}};
  plot.spec["layer"] =
      json::array({{{"mark", {{"type", "rect"}}}, {"encoding", {{"color", colour}, {"tooltip", tip}}}},
                   {{"mark", {{"type", "text"}, {"fontSize", 10}}},
                    {"encoding",
                     {{"text", {{"field", "text"}, {"type", "nominal"}}},
                      {"color",
                       {{"condition", {{"test", "datum.place > 0.55"}, {"value", "#000000"}}},
                        {"value", "#ffffff"}}}}}}});
  return plot;
}

// Which points no other beats in both: lower `cost` and a better score.
std::vector<bool> on_front(const std::vector<std::pair<double, double>>& points, Better better) {
  std::vector<bool> on;
  for (const auto& [cost, score] : points) {
    on.push_back(
        std::none_of(points.begin(), points.end(), [&, cost = cost, score = score](const auto& other) {
          const bool better_score = is_better(better, other.second, score);
          return (other.first <= cost && better_score) ||
                 (other.first < cost && !is_better(better, score, other.second));
        }));
  }
  return on;
}

// Score against a cost of the rows; none where fewer than two have both.
std::vector<Plot> pareto_plot(const Board& board, const std::string& id, const std::string& title,
                              const std::string& cost_title, bool is_log,
                              const std::function<std::optional<double>(const Row&)>& cost_of) {
  const std::vector<std::string> titles = unique_titles(board);
  std::vector<std::pair<double, double>> points;
  std::vector<size_t> rows;
  std::set<double> costs;
  for (size_t row = 0; row < board.rows.size(); ++row) {
    const auto cost = cost_of(board.rows[row]);
    if (cost && board.rows[row].average.value && (!is_log || *cost > 0)) {
      points.emplace_back(*cost, *board.rows[row].average.value);
      rows.push_back(row);
      costs.insert(*cost);
    }
  }
  if (costs.size() < 2) {
    return {};
  }
  const std::vector<bool> front = on_front(points, board.score.better);
  std::string csv = csv_record({"method", "group", "cost", "score", "low", "high", "front"});
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = board.rows[rows[i]];
    const auto& interval = row.average.interval;
    csv += csv_record({titles[rows[i]], group_title(row.group), number_text(points[i].first),
                       number_text(points[i].second), csv_bound(interval, &Interval::low),
                       csv_bound(interval, &Interval::high), front[i] ? "yes" : "no"});
  }
  Plot plot = begin_plot(id, title,
                         title + ": " + board_title(board) + ". " + std::to_string(rows.size()) +
                             " methods; those that no other beats in both are joined by a line.",
                         csv, {"cost", "score", "low", "high"}, {"method", "group", "front"}, 320);
  json x = field("cost", "quantitative", cost_title);
  x["scale"] = is_log ? json{{"type", "log"}, {"nice", true}} : json{{"zero", false}, {"nice", true}};
  const bool is_small = *costs.rbegin() < 1e4;  // 0.01, or 10M
  x["axis"] = {{"format", is_log && is_small ? "~g" : "~s"}, {"tickCount", 6}};
  json colour = field("group", "nominal", "");
  colour["scale"] = {{"domain", {"Task not told", "Task told", "References"}},
                     {"range", {"#0072b2", "#d55e00", "#7f7f7f"}}};
  colour["legend"] = {{"orient", "bottom"}, {"title", nullptr}};
  json shape = colour;
  shape["scale"] = {{"domain", {"Task not told", "Task told", "References"}},
                    {"range", {"circle", "square", "diamond"}}};
  const json y = score_axis(board.score);
  const json front_only = json::array({{{"filter", "datum.front == 'yes'"}}});
  plot.spec["layer"] = json::array(
      {{{"transform", front_only},
        {"mark",
         {{"type", "line"}, {"interpolate", "step-after"}, {"strokeDash", {4, 3}}, {"color", "#888888"}}},
        {"encoding", {{"x", x}, {"y", y}}}},
       {{"mark", {{"type", "point"}, {"filled", true}, {"size", 60}, {"opacity", 0.85}}},
        {"encoding",
         {{"x", x},
          {"y", y},
          {"color", colour},
          {"shape", shape},
          {"tooltip", json::array({field("method", "nominal", "Method"), x, score_tip(board.score),
                                   score_tip(board.score, "low", "95 % from"),
                                   score_tip(board.score, "high", "to")})}}}},
       {{"transform", front_only},
        {"mark",
         {{"type", "text"}, {"align", "left"}, {"dx", 6}, {"dy", -6}, {"fontSize", 10}, {"limit", 130}}},
        {"encoding", {{"x", x}, {"y", y}, {"text", {{"field", "method"}, {"type", "nominal"}}}}}}});
  return {plot};
}

std::vector<Plot> unseen_plot(const Board& board, const std::string& id) {
  if (board.unseen.empty()) {
    return {};
  }
  const std::vector<std::string> titles = unique_titles(board);
  std::string csv = csv_record({"method", "score", "low", "high", "unseen", "unseen_low", "unseen_high"});
  size_t count = 0;
  for (size_t i = 0; i < board.rows.size(); ++i) {
    const Row& row = board.rows[i];
    if (row.average.value && row.unseen.value) {
      csv += csv_record(
          {titles[i], number_text(*row.average.value), csv_bound(row.average.interval, &Interval::low),
           csv_bound(row.average.interval, &Interval::high), number_text(*row.unseen.value),
           csv_bound(row.unseen.interval, &Interval::low), csv_bound(row.unseen.interval, &Interval::high)});
      ++count;
    }
  }
  if (count == 0) {
    return {};
  }
  const std::string title = "Held-in tasks against unseen ones";
  Plot plot =
      begin_plot(id + "-unseen", title,
                 title + ": " + board_title(board) + ". " + std::to_string(count) +
                     " methods, with the 95 % intervals of both averages.",
                 csv, {"score", "low", "high", "unseen", "unseen_low", "unseen_high"}, {"method"}, 320);
  const json y = score_axis(board.score);
  json x = y, up = y;
  x["title"] = "Seen: " + score_axis_title(board.score);
  up["field"] = "unseen";
  up["title"] = "Unseen tasks";
  json low = x, unseen_low = up;
  low["field"] = "low";
  unseen_low["field"] = "unseen_low";
  const json rule{{"type", "rule"}, {"opacity", 0.35}};
  plot.spec["layer"] = json::array(
      {{{"mark", rule}, {"encoding", {{"x", low}, {"x2", {{"field", "high"}}}, {"y", up}}}},
       {{"mark", rule}, {"encoding", {{"x", x}, {"y", unseen_low}, {"y2", {{"field", "unseen_high"}}}}}},
       {{"mark", {{"type", "point"}, {"filled", true}, {"size", 60}, {"color", "#0072b2"}}},
        {"encoding",
         {{"x", x},
          {"y", up},
          {"tooltip",
           json::array({field("method", "nominal", "Method"), score_tip(board.score, "score", "Seen"),
                        score_tip(board.score, "unseen", "Unseen")})}}}}});
  return {plot};
}

ParamText parameter_text(const Setting& setting) {
  return parse_call("m{" + setting.parameters + "}").second;
}

bool differ_in_one(const ParamText& a, const ParamText& b, const std::string& name) {
  return std::all_of(a.begin(), a.end(), [&](const auto& parameter) {
    const auto other = b.find(parameter.first);
    return parameter.first == name || (other != b.end() && other->second == parameter.second);
  });
}

// Numbers by size, before words.
bool comes_first(const std::string& a, const std::string& b) {
  const auto number = [](const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    return !text.empty() && *end == '\0' ? std::optional(value) : std::nullopt;
  };
  const auto of_a = number(a), of_b = number(b);
  if (of_a && of_b) {
    return *of_a < *of_b;
  }
  return of_a.has_value() != of_b.has_value() ? of_a.has_value() : a < b;
}

std::optional<Plot> sensitivity_plot(const Board& board, const Row& row, const std::string& parameter,
                                     const std::string& id) {
  const ParamText chosen = parameter_text(row.setting);
  std::vector<std::pair<std::string, const Setting*>> along;
  for (const Setting& setting : board.settings) {
    if (setting.method == row.setting.method) {
      const ParamText text = parameter_text(setting);
      if (text.contains(parameter) && differ_in_one(text, chosen, parameter)) {
        along.emplace_back(text.at(parameter), &setting);
      }
    }
  }
  std::sort(along.begin(), along.end(),
            [](const auto& a, const auto& b) { return comes_first(a.first, b.first); });
  std::string csv = csv_record({"value", "split", "score", "chosen"});
  std::vector<std::string> values;
  size_t points = 0;
  for (const auto& [value, setting] : along) {
    values.push_back(value);
    for (const auto& [split, score] :
         {std::pair("validation", setting->validation_score), {"test", setting->test_score}}) {
      if (score) {
        csv += csv_record({value, split, number_text(*score), setting->chosen ? "yes" : "no"});
        ++points;
      }
    }
  }
  if (values.size() < 2 || points < 2) {
    return std::nullopt;
  }
  Plot plot = begin_plot(id, row.method.title + ": " + parameter,
                         "Score of " + row.method.title + " against its parameter " + parameter +
                             ", its other parameters as chosen: " + board_title(board) +
                             ". The chosen value is marked.",
                         csv, {"score"}, {"value", "split", "chosen"}, 150);
  json x = field("value", "ordinal", parameter);
  x["sort"] = values;
  x["axis"] = {{"labelAngle", 0}, {"labelOverlap", true}};
  json colour = field("split", "nominal", "");
  colour["scale"] = {{"domain", {"validation", "test"}}, {"range", {"#d55e00", "#0072b2"}}};
  colour["legend"] = {{"orient", "bottom"}, {"title", nullptr}};
  json dash = field("split", "nominal", "");
  dash["scale"] = {{"domain", {"validation", "test"}},
                   {"range", json::array({json::array({4, 3}), json::array({1, 0})})}};
  json y = score_axis(board.score);
  y["title"] = board.score.relative ? "Relative score" : board.score.title;
  const json tip = json::array(
      {x, field("split", "nominal", "Split"), score_tip(board.score), field("chosen", "nominal", "Chosen")});
  plot.spec["layer"] = json::array(
      {{{"mark", {{"type", "line"}}},
        {"encoding", {{"x", x}, {"y", y}, {"color", colour}, {"strokeDash", dash}}}},
       {{"mark", {{"type", "point"}, {"filled", true}}},
        {"encoding",
         {{"x", x},
          {"y", y},
          {"color", colour},
          {"size", {{"condition", {{"test", "datum.chosen == 'yes'"}, {"value", 110}}}, {"value", 30}}},
          {"tooltip", tip}}}}});
  return plot;
}

}  // namespace

std::vector<Plot> board_plots(const Board& board, const std::string& id) {
  std::vector<Plot> plots{heat_map(board, id)};
  const bool in_models = std::any_of(board.rows.begin(), board.rows.end(),
                                     [](const Row& row) { return row.stored_models.has_value(); });
  for (Plot& plot : pareto_plot(
           board, id + "-stored", "Score against stored numbers",
           in_models ? "Stored numbers, in models of the zoo" : "Stored numbers", false,
           [&](const Row& row) { return in_models ? row.stored_models : row.setting.stored_parameters; })) {
    plots.push_back(std::move(plot));
  }
  for (Plot& plot : unseen_plot(board, id)) {
    plots.push_back(std::move(plot));
  }
  return plots;
}

std::vector<Plot> sensitivity_plots(const Board& board, const std::string& id) {
  std::vector<Plot> plots;
  for (const Row& row : board.rows) {
    for (const std::string& parameter : row.tuned) {
      const std::string name = id + "-parameter-" + std::to_string(plots.size());
      if (auto plot = sensitivity_plot(board, row, parameter, name)) {
        plots.push_back(std::move(*plot));
      }
    }
  }
  return plots;
}

std::vector<Plot> cost_plots(const Board& board, const std::string& id) {
  std::vector<Plot> plots =
      pareto_plot(board, id + "-seconds", "Score against seconds of a merge", "Seconds of a merge (log)",
                  true, [](const Row& row) { return row.setting.merge_seconds; });
  for (Plot& plot : pareto_plot(board, id + "-operations", "Score against operations of a merge",
                                "Operations of a merge (log)", true,
                                [](const Row& row) { return row.setting.merge_operations; })) {
    plots.push_back(std::move(plot));
  }
  return plots;
}

}  // namespace fusegrid
