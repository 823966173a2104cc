#include "report/plots.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/params.h"
#include "core/text.h"
#include "report/layout.h"
#include "report/markup.h"
#include "report/table_layout.h"
#include "report/tables.h"

namespace fusegrid {
namespace {

using nlohmann::json;

constexpr size_t kColours = 8;  // that can be told apart, also by the colour-blind: Okabe and Ito's
constexpr const char* kRest = "others";

// ---- data ------------------------------------------------------------------------------------------------------

json data_of(const std::string& csv, const std::vector<std::string>& numbers,
             const std::vector<std::string>& words) {
  json parse = json::object();
  for (const std::string& name : numbers) {
    parse[name] = "number";
  }
  for (const std::string& name : words) {
    parse[name] = "string";
  }
  return {{"values", csv}, {"format", {{"type", "csv"}, {"parse", parse}}}};
}

bool is_share(const std::string& unit) {
  return unit == to_string(Unit::kFraction);
}

const char* axis_format(const std::string& unit) {
  return is_share(unit) ? ".3~%" : "~g";
}

const char* exact_format(const std::string& unit) {
  return is_share(unit) ? ".2%" : ".4~g";
}

std::string score_title_of(const Score& score) {
  const std::string what = score.relative ? "Relative score" : score.title;
  return what + ", " + to_string(score.better) + " is better";
}

// Titles of methods; those that two rows have are followed by the name.
std::vector<std::string> unique_titles(const Board& board) {
  std::map<std::string, int> times;
  for (const Row& row : board.rows) {
    ++times[row.method.title];
  }
  std::vector<std::string> titles;
  for (const Row& row : board.rows) {
    titles.push_back(times[row.method.title] == 1 ? row.method.title
                                                  : row.method.title + " (" + row.setting.method + ")");
  }
  return titles;
}

// ---- parts of specifications ------------------------------------------------------------------------------------

json field(const std::string& name, const std::string& type, const std::string& title) {
  return {{"field", name}, {"type", type}, {"title", title}};
}

json score_axis(const Score& score) {
  json axis = field("score", "quantitative", score_title_of(score));
  axis["scale"] = {{"zero", false}, {"nice", true}};
  axis["axis"] = {{"format", axis_format(score.unit)}};
  return axis;
}

json score_tip(const Score& score, const std::string& name = "score", const std::string& title = "") {
  json tip = field(name, "quantitative", title.empty() ? score.title : title);
  tip["format"] = exact_format(score.unit);
  return tip;
}

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

json base_spec(const std::string& description, json data, int height) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description},
          {"data", std::move(data)},
          {"width", "container"},
          {"height", height}};
}

// Lines of averages with their intervals along `x`.
Plot line_plot(const std::string& id, const std::string& title, const std::string& description,
               const Score& score, const std::string& csv, const json& x, const json& data,
               const std::vector<std::string>& titles, const json& order) {
  Plot plot{id, title, description, csv, base_spec(description, data, 300), 0};
  const json colour = line_style(titles, "series");
  json points{
      {"mark", {{"type", "line"}, {"point", {{"filled", true}, {"size", 45}}}, {"strokeWidth", 2}}},
      {"encoding",
       {{"x", x},
        {"y", score_axis(score)},
        {"color", colour},
        {"detail", {{"field", "method"}, {"type", "nominal"}}},
        {"order", order},
        {"tooltip", json::array({field("method", "nominal", "Method"), x, score_tip(score),
                                 score_tip(score, "low", "95 % from"), score_tip(score, "high", "to")})}}}};
  plot.spec["transform"] = json::array({{{"filter", "isValid(datum.score)"}}});
  plot.spec["layer"] = json::array({band_layer(x, colour), points});
  return plot;
}

// ---- boards ----------------------------------------------------------------------------------------------------

struct Spread {
  double low = 0, high = 0;
};

// Of what a task's rows have; absent where none has a number.
std::optional<Spread> spread_of(const Board& board, size_t task) {
  std::optional<Spread> spread;
  for (const Row& row : board.rows) {
    if (const auto& value = row.by_task[task]) {
      spread = spread ? Spread{std::min(spread->low, *value), std::max(spread->high, *value)}
                      : Spread{*value, *value};
    }
  }
  return spread;
}

// Where the value lies between the worst (0) and the best (1).
double place_in(const Spread& spread, double value, Better better) {
  const double share = spread.high > spread.low ? (value - spread.low) / (spread.high - spread.low) : 1;
  return better == Better::kHigher ? share : 1 - share;
}

Plot heat_map(const Board& board, const std::string& id) {
  const std::vector<std::string> titles = unique_titles(board);
  std::optional<Spread> all;
  std::vector<std::optional<Spread>> spreads;
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    spreads.push_back(spread_of(board, task));
    if (const auto& one = spreads.back()) {
      all = all ? Spread{std::min(all->low, one->low), std::max(all->high, one->high)} : *one;
    }
  }
  std::string csv = csv_record({"method", "task", "value", "text", "place"});
  for (size_t row = 0; row < board.rows.size(); ++row) {
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      if (const auto& value = board.rows[row].by_task[task]) {
        const TaskMetric& metric = board.metrics[task];
        const double place = place_in(board.score.relative ? *spreads[task] : *all, *value, metric.better);
        csv += csv_record({titles[row], board.tasks[task], number_text(*value),
                           value_text(value, metric.unit), fixed(place, 3)});
      }
    }
  }
  const std::string scale_text = board.score.relative
                                     ? "between the worst (0) and the best (1) row of each task"
                                     : "between the worst (0) and the best (1) number of the board";
  const std::string description = "Heat map of " + std::to_string(board.rows.size()) + " methods by " +
                                  std::to_string(board.tasks.size()) + " tasks: " + board_title(board) +
                                  ". Colours tell where a number lies " + scale_text + ".";
  constexpr int kLine = 18;
  Plot plot{id + "-tasks",
            "Tasks by methods",
            description,
            csv,
            base_spec(description, data_of(csv, {"value", "place"}, {"method", "task", "text"}),
                      kLine * static_cast<int>(board.rows.size())),
            230 + 34 * static_cast<int>(board.tasks.size())};
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
                       number_text(points[i].second), interval ? number_text(interval->low) : "",
                       interval ? number_text(interval->high) : "", front[i] ? "yes" : "no"});
  }
  const std::string description = title + ": " + board_title(board) + ". " + std::to_string(rows.size()) +
                                  " methods; those that no other beats in both are joined by a line.";
  Plot plot{id,
            title,
            description,
            csv,
            base_spec(description,
                      data_of(csv, {"cost", "score", "low", "high"}, {"method", "group", "front"}), 320),
            0};
  json x = field("cost", "quantitative", cost_title);
  x["scale"] = is_log ? json{{"type", "log"}, {"nice", true}} : json{{"zero", false}, {"nice", true}};
  x["axis"] = {{"format", is_log ? "~g" : "~s"}, {"tickCount", 6}};
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
  const auto ends = [](const Average& average) {
    const auto& interval = average.interval;
    return std::pair(interval ? number_text(interval->low) : "", interval ? number_text(interval->high) : "");
  };
  for (size_t i = 0; i < board.rows.size(); ++i) {
    const Row& row = board.rows[i];
    if (row.average.value && row.unseen.value) {
      const auto [low, high] = ends(row.average);
      const auto [unseen_low, unseen_high] = ends(row.unseen);
      csv += csv_record({titles[i], number_text(*row.average.value), low, high,
                         number_text(*row.unseen.value), unseen_low, unseen_high});
      ++count;
    }
  }
  if (count == 0) {
    return {};
  }
  const std::string title = "Held-in tasks against unseen ones";
  const std::string description = title + ": " + board_title(board) + ". " + std::to_string(count) +
                                  " methods, with the 95 % intervals of both averages.";
  Plot plot{
      id + "-unseen",
      title,
      description,
      csv,
      base_spec(description,
                data_of(csv, {"score", "low", "high", "unseen", "unseen_low", "unseen_high"}, {"method"}),
                320),
      0};
  const json y = score_axis(board.score);
  json x = y, up = y;
  x["title"] = "Seen: " + score_title_of(board.score);
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

// ---- settings --------------------------------------------------------------------------------------------------

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
  const std::string title = row.method.title + ": " + parameter;
  const std::string description = "Score of " + row.method.title + " against its parameter " + parameter +
                                  ", its other parameters as chosen: " + board_title(board) +
                                  ". The chosen value is marked.";
  Plot plot{id,
            title,
            description,
            csv,
            base_spec(description, data_of(csv, {"score"}, {"value", "split", "chosen"}), 150),
            0};
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

std::vector<Plot> time_plots(const Board& board, const std::string& id) {
  return pareto_plot(board, id + "-seconds", "Score against seconds of a merge", "Seconds of a merge (log)",
                     true, [](const Row& row) { return row.setting.merge_seconds; });
}

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
    const std::string description = title + " of " + std::to_string(paths.size()) +
                                    " paths between two models, t from 0 to 1: " + board_title(board) + ".";
    Plot plot{id + name,
              title,
              description,
              csv,
              base_spec(description, data_of(csv, {"t", "score", "loss"}, {"path", "series"}), 280),
              0};
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

namespace {

struct LinePoints {
  std::string csv;
  std::vector<std::string> titles;
};

// One record for each line and point that has an average; `x` is the text of the point, its name `column`.
LinePoints points_of(const std::vector<Scaling::Line>& lines, const std::string& column,
                     const std::vector<std::string>& x) {
  LinePoints found;
  for (const Scaling::Line& line : lines) {
    found.titles.push_back(line.title);
  }
  found.csv = csv_record({"method", "series", column, "score", "low", "high"});
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t point = 0; point < x.size(); ++point) {
      if (const auto& average = lines[i].average[point]) {
        const auto& interval = lines[i].interval[point];
        found.csv += csv_record({lines[i].title, series_name(found.titles, i), x[point],
                                 number_text(*average), interval ? number_text(interval->low) : "",
                                 interval ? number_text(interval->high) : ""});
      }
    }
  }
  return found;
}

}  // namespace

Plot scaling_plot(const Scaling& scaling, const std::string& id) {
  std::vector<std::string> x;
  for (const int64_t experts : scaling.experts) {
    x.push_back(std::to_string(experts));
  }
  const LinePoints points = points_of(scaling.lines, "experts", x);
  json axis = field("experts", "quantitative", "Merged experts");
  axis["scale"] = {{"zero", false}, {"nice", false}};
  axis["axis"] = {{"values", scaling.experts}, {"format", "d"}, {"labelOverlap", true}};
  return line_plot(id, scaling_title(scaling),
                   "Averages of " + std::to_string(points.titles.size()) +
                       " methods against the number of experts, with 95 % "
                       "intervals as bands: " +
                       scaling.zoo + ".",
                   scaling.score, points.csv, axis,
                   data_of(points.csv, {"experts", "score", "low", "high"}, {"method", "series"}),
                   points.titles, json{{"field", "experts"}, {"type", "quantitative"}});
}

Plot size_plot(const SizeSeries& series, const std::string& id) {
  std::vector<std::string> x;
  for (const double parameters : series.parameters) {
    x.push_back(number_text(parameters));
  }
  const LinePoints points = points_of(series.lines, "parameters", x);
  json axis = field("parameters", "quantitative", "Numbers of one model (log)");
  axis["scale"] = {{"type", "log"}, {"nice", false}, {"padding", 20}};
  axis["axis"] = {{"format", ".2~s"}, {"values", series.parameters}};
  return line_plot(id, "Averages against the size of a model",
                   "Averages of " + std::to_string(points.titles.size()) +
                       " methods against the size of a model, with 95 % "
                       "intervals as bands: " +
                       size_title(series) + ".",
                   series.score, points.csv, axis,
                   data_of(points.csv, {"parameters", "score", "low", "high"}, {"method", "series"}),
                   points.titles, json{{"field", "parameters"}, {"type", "quantitative"}});
}

namespace {

// "gaussian_noise" and 3 of "gaussian_noise-3"; a shift without a severity has 1.
std::pair<std::string, std::string> severity_of(const std::string& shift) {
  const size_t dash = shift.rfind('-');
  const std::string end = dash == std::string::npos ? "" : shift.substr(dash + 1);
  const bool is_number = !end.empty() && end.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::pair(shift.substr(0, dash), end) : std::pair(shift, std::string("1"));
}

}  // namespace

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
    const LinePoints points = points_of(lines, "severity", x);
    json axis = field("severity", "quantitative", "Severity (0: not shifted)");
    axis["axis"] = {{"format", "d"}, {"tickMinStep", 1}};
    plots.push_back(line_plot(id + "-" + std::to_string(plots.size()), kind,
                              "Averages of " + std::to_string(points.titles.size()) +
                                  " methods against the severity of the shift " + kind +
                                  ", with 95 % intervals as bands: " + robustness_table(robustness).title +
                                  ".",
                              robustness.score, points.csv, axis,
                              data_of(points.csv, {"severity", "score", "low", "high"}, {"method", "series"}),
                              points.titles, json{{"field", "severity"}, {"type", "quantitative"}}));
  }
  return plots;
}

Plot timeline_plot(const Timeline& timeline, const std::string& id) {
  std::vector<std::string> lanes;
  for (const Timeline::Lane& lane : timeline.lanes) {
    lanes.push_back(lane.title);
  }
  std::string csv = csv_record({"rank", "begin", "end", "phase", "what"});
  for (const Timeline::Span& span : timeline.spans) {
    csv += csv_record({lanes[span.lane], fixed(span.begin, 2), fixed(span.end, 2), span.phase, span.what});
  }
  const std::string description = "What each of " + std::to_string(lanes.size()) + " ranks did in " +
                                  fixed(timeline.seconds, 0) + " seconds of " + timeline.title + "; " +
                                  percent(timeline.efficiency()) + " % of their time was work.";
  Plot plot{id,
            "Timeline of " + timeline.title,
            description,
            csv,
            base_spec(description, data_of(csv, {"begin", "end"}, {"rank", "phase", "what"}),
                      std::max(60, 26 * static_cast<int>(lanes.size()))),
            0};
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

nlohmann::json plot_themes() {
  const auto theme = [](const char* text, const char* line, const char* grid, const char* ground) {
    return json{{"background", ground},
                {"font", "system-ui, sans-serif"},
                {"view", {{"stroke", nullptr}}},
                {"axis",
                 {{"labelColor", text},
                  {"titleColor", text},
                  {"domainColor", line},
                  {"tickColor", line},
                  {"gridColor", grid},
                  {"labelFontSize", 11},
                  {"titleFontSize", 11},
                  {"titleFontWeight", "normal"}}},
                {"legend",
                 {{"labelColor", text},
                  {"titleColor", text},
                  {"labelFontSize", 11},
                  {"titleFontSize", 11},
                  {"titleFontWeight", "normal"}}},
                {"title", {{"color", text}}},
                {"text", {{"color", text}}},
                {"rule", {{"color", line}}}};
  };
  return {{"light", theme("#1f2933", "#5f6b76", "#e3e7ea", "#ffffff")},
          {"dark", theme("#e6e9ec", "#9aa5b1", "#343d47", "#171b20")}};
}

}  // namespace fusegrid
