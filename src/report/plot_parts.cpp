#include "report/plot_parts.h"

#include <map>
#include <utility>

namespace fusegrid {
namespace {

using nlohmann::json;

bool is_share(const std::string& unit) {
  return unit == to_string(Unit::kFraction);
}

const char* axis_format(const std::string& unit) {
  return is_share(unit) ? ".3~%" : "~g";
}

const char* exact_format(const std::string& unit) {
  return is_share(unit) ? ".2%" : ".4~g";
}

}  // namespace

Plot begin_plot(std::string id, std::string title, std::string description, std::string csv,
                const std::vector<std::string>& numbers, const std::vector<std::string>& words, int height) {
  json parse = json::object();
  for (const std::string& name : numbers) {
    parse[name] = "number";
  }
  for (const std::string& name : words) {
    parse[name] = "string";
  }
  json spec{{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
            {"description", description},
            {"data", {{"values", csv}, {"format", {{"type", "csv"}, {"parse", std::move(parse)}}}}},
            {"width", "container"},
            {"height", height}};
  return {std::move(id), std::move(title), std::move(description), std::move(csv), std::move(spec)};
}

json field(const std::string& name, const std::string& type, const std::string& title) {
  return {{"field", name}, {"type", type}, {"title", title}};
}

json score_axis(const Score& score) {
  json axis = field("score", "quantitative", score_axis_title(score));
  axis["scale"] = {{"zero", false}, {"nice", true}};
  axis["axis"] = {{"format", axis_format(score.unit)}};
  return axis;
}

json score_tip(const Score& score, const std::string& name, const std::string& title) {
  json tip = field(name, "quantitative", title.empty() ? score.title : title);
  tip["format"] = exact_format(score.unit);
  return tip;
}

std::string score_axis_title(const Score& score) {
  const std::string what = score.relative ? "Relative score" : score.title;
  return what + ", " + to_string(score.better) + " is better";
}

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
