#include "report/page.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "core/text_file.h"
#include "report/layout.h"
#include "report/page_files.h"
#include "report/picture_sheet.h"
#include "report/plots.h"
#include "report/tables.h"
#include "report/timeline.h"

namespace fusegrid {
namespace {

constexpr size_t kOpenBoards = 3;  // of more, the first alone is open

// The parts of the page's frame by the names of its slots.
std::string fill_slots(std::string_view frame, const std::map<std::string, std::string>& slots) {
  std::string text;
  while (true) {
    const size_t begin = frame.find("{{");
    if (begin == std::string_view::npos) {
      return text.append(frame);
    }
    const size_t end = frame.find("}}", begin);
    text.append(frame.substr(0, begin));
    text += slots.at(std::string(frame.substr(begin + 2, end - begin - 2)));
    frame.remove_prefix(end + 2);
  }
}

// JSON inside an element `script`: no text in it can end that element or begin a comment.
std::string json_text(const nlohmann::json& json) {
  std::string text;
  for (const char c : json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
    if (c == '<' || c == '>' || c == '&') {
      text += c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : "\\u0026";
    } else {
      text += c;
    }
  }
  return text;
}

std::string element(const std::string& tag, const std::string& text) {
  return "<" + tag + ">" + escape_html(text) + "</" + tag.substr(0, tag.find(' ')) + ">\n";
}

std::string html_list(const std::vector<std::string>& items) {
  std::string text = "<ul class=\"notes\">\n";
  for (const std::string& item : items) {
    text += element("li", item);
  }
  return text + "</ul>\n";
}

// ---- tables ----------------------------------------------------------------------------------------------------

std::string html_cell(const ReportTable::Cell& cell, const ReportTable::Column& column, bool is_first) {
  constexpr size_t kLong = 60;
  std::string classes = column.right ? "number" : cell.text.size() > kLong ? "long" : "text";
  std::string text = escape_html(cell.text);
  if (cell.mark == ReportTable::Mark::kBest) {
    classes += " best";
  } else if (cell.mark == ReportTable::Mark::kTied) {
    text += " <abbr title=\"tied with the best\">†</abbr>";
  }
  if (is_first) {
    return "<th scope=\"row\">" + text + "</th>";
  }
  std::string order;
  if (column.right) {  // the number itself sorts, not its text
    order = " data-order=\"" + (cell.number ? number_text(*cell.number) : "") + "\"";
  }
  return "<td class=\"" + classes + "\"" + order + ">" + text + "</td>";
}

// `label`: what the table is of. Groups become a column.
std::string html_table(const ReportTable& table, const std::string& label) {
  const bool grouped = std::any_of(table.lines.begin(), table.lines.end(),
                                   [](const auto& line) { return !line.group.empty(); });
  std::string text = "<div class=\"table\"><table class=\"sortable compact\" aria-label=\"" +
                     escape_html(label) + "\">\n<thead><tr>";
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const ReportTable::Column& column = table.columns[i];
    text += "<th scope=\"col\"" + std::string(column.right && i > 0 ? " class=\"number\"" : "") + ">" +
            escape_html(column.heading) + "</th>";
    text += i == 0 && grouped ? "<th scope=\"col\">Group</th>" : "";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const ReportTable::Line& line : table.lines) {
    text += "<tr>";
    for (size_t i = 0; i < line.cells.size(); ++i) {
      text += html_cell(line.cells[i], table.columns[i], i == 0);
      text += i == 0 && grouped ? "<td>" + escape_html(line.group) + "</td>" : "";
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

// The columns of both, of the same rows.
ReportTable joined(ReportTable table, const ReportTable& more) {
  table.columns.insert(table.columns.end(), more.columns.begin() + 1, more.columns.end());
  for (size_t line = 0; line < table.lines.size(); ++line) {
    auto& cells = table.lines[line].cells;
    cells.insert(cells.end(), more.lines[line].cells.begin() + 1, more.lines[line].cells.end());
  }
  return table;
}

ReportTable failed_table(const std::vector<ReportPart>& parts) {
  ReportTable table;
  table.columns = {{"Cell", false}, {"Status", false}, {"Message", false}};
  for (const ReportPart& part : parts) {
    for (const auto& [name, result] : part.records.results) {
      if (result.status != Status::kValid) {
        const std::string cell = parts.size() == 1 ? name : part.name + ": " + name;
        table.lines.push_back({"", {{cell}, {to_string(result.status)}, {result.reason}}});
      }
    }
  }
  return table;
}

ReportTable launch_table(const Records& records) {
  ReportTable table;
  table.columns = {{"Launch", false}, {"Started", false}, {"Program", false}, {"Command", false}};
  for (size_t run = 0; run < records.runs.size(); ++run) {
    const nlohmann::json& facts = records.runs[run].provenance;
    const auto text_of = [&](const char* key) {
      const auto found = facts.is_object() ? facts.find(key) : facts.end();
      return !facts.is_object() || found == facts.end() ? std::string("-")
             : found->is_string()                       ? found->get<std::string>()
                                  : found->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    table.lines.push_back(
        {"", {{std::to_string(run)}, {text_of("started")}, {text_of("git")}, {text_of("argv")}}});
  }
  return table;
}

// ---- plots -----------------------------------------------------------------------------------------------------

std::string html_plot(const Plot& plot) {
  constexpr int kWide = 430;
  return "<figure class=\"plot" + std::string(plot.least_width > kWide ? " wide" : "") + "\" id=\"" +
         plot.id + "\" data-width=\"" + std::to_string(plot.least_width) + "\">\n<figcaption>" +
         escape_html(plot.title) +
         "</figcaption>\n<div class=\"drawing\" tabindex=\"0\" role=\"region\" aria-label=\"" +
         escape_html(plot.description) + "\"><div class=\"place\"" +
         (plot.least_width > 0 ? " style=\"min-width:" + std::to_string(plot.least_width) + "px\"" : "") +
         "></div></div>\n<script type=\"application/json\">" + json_text(plot.spec) +
         "</script>\n<div class=\"save\"><button type=\"button\" value=\"svg\" aria-label=\"Save SVG of " +
         escape_html(plot.title) +
         "\">SVG</button><button type=\"button\" value=\"csv\" aria-label=\"Save data of " +
         escape_html(plot.title) + "\">CSV</button></div>\n</figure>\n";
}

std::string html_plots(const std::vector<Plot>& plots, bool small = false) {
  if (plots.empty()) {
    return "";
  }
  std::string text = small ? "<div class=\"plots small\">\n" : "<div class=\"plots\">\n";
  for (const Plot& plot : plots) {
    text += html_plot(plot);
  }
  return text + "</div>\n";
}

// ---- sections --------------------------------------------------------------------------------------------------

// Sections and the links to them.
class Sections {
 public:
  // Nothing where there is no content.
  void add(const std::string& id, const std::string& title, const std::string& content) {
    if (!content.empty()) {
      links_ += "<li><a href=\"#" + id + "\">" + escape_html(title) + "</a></li>\n";
      text_ += "<section id=\"" + id + "\" aria-labelledby=\"" + id + "-title\">\n<h2 id=\"" + id +
               "-title\">" + escape_html(title) + "</h2>\n" + content + "</section>\n";
    }
  }
  const std::string& text() const { return text_; }
  const std::string& links() const { return links_; }

 private:
  std::string text_;
  std::string links_;
};

std::string html_board(const Board& board, const std::string& id, bool is_open) {
  const std::string title = board_title(board);
  std::string text = "<details class=\"board\" id=\"" + id + "\"" + (is_open ? " open" : "") + ">\n";
  text += element("summary", title);
  text += html_table(joined(joined(score_table(board), choice_table(board)), needs_table(board)),
                     "Leaderboard: " + title);
  text += html_list(board_notes(board));
  text += html_plots(board_plots(board, id));
  if (const std::string parameters = html_plots(sensitivity_plots(board, id), true); !parameters.empty()) {
    text += "<h3>Sensitivity to parameters</h3>\n" + parameters;
  }
  if (const std::vector<Path> paths = make_paths(board); !paths.empty()) {
    text += "<h3>Paths between models</h3>\n" + html_plots(path_plots(board, id)) +
            html_table(path_table(board, paths), "Along t: " + title) +
            element("p class=\"quiet\"", kPathNote);
  }
  return text + "</details>\n";
}

std::string html_boards(const std::vector<Board>& boards) {
  std::string text = boards.size() < 2
                         ? ""
                         : "<p><button type=\"button\" class=\"open\" value=\"open\">Open all</button> "
                           "<button type=\"button\" class=\"open\" value=\"close\">Close all</button></p>\n";
  for (size_t i = 0; i < boards.size(); ++i) {
    text += html_board(boards[i], "board-" + std::to_string(i), i == 0 || boards.size() <= kOpenBoards);
  }
  return text;
}

std::string html_scalings(const std::vector<Board>& boards) {
  std::string text;
  size_t number = 0;
  for (const Scaling& scaling : make_scalings(boards)) {
    const std::string title =
        scaling.zoo + ": " + scaling_title(scaling) + (scaling.shift == "clean" ? "" : ", " + scaling.shift);
    text += element("h3", title) +
            html_plots({scaling_plot(scaling, "experts-" + std::to_string(number++))}) +
            html_table(scaling_table(scaling), title) + element("p class=\"quiet\"", kScalingNote);
  }
  return text;
}

std::string html_sizes(const std::vector<Board>& boards) {
  std::string text;
  size_t number = 0;
  for (const SizeSeries& series : make_size_series(boards)) {
    text += element("h3", size_title(series)) +
            html_plots({size_plot(series, "size-" + std::to_string(number++))}) +
            html_table(size_table(series), size_title(series)) + element("p class=\"quiet\"", kSizeNote);
  }
  return text;
}

std::string html_robustness(const std::vector<Board>& boards) {
  std::string text;
  size_t number = 0;
  for (const Robustness& robustness : make_robustness(boards)) {
    const TextRows table = robustness_table(robustness);
    text += element("h3", table.title) +
            html_plots(robustness_plots(robustness, "shifts-" + std::to_string(number++))) +
            html_table(table_of(table), table.title);
  }
  return text.empty() ? text : text + element("p class=\"quiet\"", robustness_note());
}

std::string html_picture(const std::string& url, const std::string& of) {
  return url.empty() ? "<td>-</td>" : "<td><img src=\"" + url + "\" alt=\"" + escape_html(of) + "\"></td>";
}

std::string html_picture_table(const PictureSheet& sheet) {
  std::string text = "<div class=\"table\"><table class=\"pictures\" aria-label=\"" +
                     escape_html("Pictures: " + sheet.title) +
                     "\">\n<thead><tr><th scope=\"col\">Method</th>";
  for (const std::string& task : sheet.tasks) {
    text += "<th scope=\"col\">" + escape_html(task) + "</th>";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const PictureSheet::Row& row : sheet.rows) {
    text += "<tr><th scope=\"row\">" + escape_html(row.title) + "</th>";
    for (size_t task = 0; task < sheet.tasks.size(); ++task) {
      text += html_picture(row.urls[task], row.title + ", " + sheet.tasks[task]);
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

std::string html_pictures(const std::vector<ReportPart>& parts) {
  std::string text;
  for (const ReportPart& part : parts) {
    for (const PictureSheet& sheet : picture_sheets(part)) {
      text += element("h3", sheet.title) + html_picture_table(sheet);
    }
  }
  return text.empty()
             ? text
             : element(
                   "p class=\"quiet\"",
                   "The first test examples of each task, of the first seed and at the chosen parameters. "
                   "Models begin with the same noise.") +
                   text;
}

std::string html_draws(const std::vector<Draws>& draws) {
  std::string text;
  const auto add = [&](const TextRows& table) {
    text += element("h3", table.title) + html_table(table_of(table), table.title);
  };
  for (const TextRows& table : draw_scaling_tables(draws)) {
    add(table);
  }
  for (const Draws& of_size : draws) {
    add(draw_table(of_size));
  }
  return draws.empty() ? text : text + element("p class=\"quiet\"", draw_note());
}

std::string html_orders(const std::vector<Board>& boards) {
  const std::vector<std::string> notes = order_notes(compare_orders(boards));
  return notes.empty() ? "" : html_list(notes);
}

std::string html_failed(const std::vector<ReportPart>& parts) {
  const ReportTable table = failed_table(parts);
  return table.lines.empty() ? "" : html_table(table, "Failed and invalid cells");
}

std::string html_costs(const std::vector<Board>& boards) {
  std::string text;
  for (size_t i = 0; i < boards.size(); ++i) {
    text += "<details class=\"board\"" + std::string(boards.size() == 1 ? " open" : "") + ">\n" +
            element("summary", board_title(boards[i])) +
            html_plots(cost_plots(boards[i], "board-" + std::to_string(i))) +
            html_table(cost_table(boards[i]), "Costs: " + board_title(boards[i])) + "</details>\n";
  }
  return element(
             "p class=\"quiet\"",
             "Seconds and memory on the machines of this run; another run has others. What several methods "
             "share is paid for by the one that ran first.") +
         text;
}

std::string html_timelines(const std::vector<ReportPart>& parts) {
  std::string text;
  size_t number = 0;
  for (const ReportPart& part : parts) {
    for (const Timeline& timeline : make_timelines(part.records)) {
      const std::string title = (parts.size() == 1 ? "" : part.name + ", ") + timeline.title;
      text += element("h3", title) +
              html_plots({timeline_plot(timeline, "timeline-" + std::to_string(number++))}) +
              html_table(lane_table(timeline), "Busy ranks: " + title);
    }
  }
  return text;
}

std::string html_provenance(const std::vector<ReportPart>& parts) {
  std::string text;
  for (const ReportPart& part : parts) {
    text += element("h3", part.name) + html_table(launch_table(part.records), "Launches: " + part.name);
    for (size_t run = 0; run < part.records.runs.size(); ++run) {
      text += "<details><summary>All that is known of launch " + std::to_string(run) + "</summary>" +
              element("pre", part.records.runs[run].provenance.dump(
                                 2, ' ', false, nlohmann::json::error_handler_t::replace)) +
              "</details>\n";
    }
  }
  return text;
}

std::string html_logs(const std::vector<ReportPart>& parts) {
  std::string text;
  for (const ReportPart& part : parts) {
    for (const auto& [name, result] : part.records.results) {
      if (result.status != Status::kValid && !result.log_tail.empty()) {
        text += "<details><summary>" + escape_html(name) + "</summary>\n<p>" +
                escape_html(result.worker + ", attempts: " + std::to_string(result.attempts)) + "</p>" +
                element("pre", result.log_tail) + "</details>\n";
      }
    }
  }
  return text;
}

std::string html_summary(const std::vector<ReportPart>& parts, const std::vector<Board>& boards,
                         const ReportFacts& facts) {
  size_t cells = 0, failed = 0;
  for (const ReportPart& part : parts) {
    cells += part.records.results.size();
    for (const auto& [name, result] : part.records.results) {
      failed += result.status == Status::kValid ? 0 : 1;
    }
  }
  std::string text =
      std::to_string(boards.size()) + (boards.size() == 1 ? " board, " : " boards, ") +
      std::to_string(cells) + " cells" +
      (failed == 0 ? "." : ", " + std::to_string(failed) + " of them without a number to be trusted.");
  text = element("p", text);
  if (!facts.unfinished.empty()) {
    text += "<p class=\"warn\"><strong>Unfinished.</strong> " + escape_html(facts.unfinished) + "</p>\n";
  }
  return text;
}

std::string html_reading(const std::vector<Board>& boards, const ReportFacts& facts) {
  std::vector<std::string> notes = reading_notes(boards, "Coloured", "†");
  notes.push_back(
      "Definitions: docs/metrics.md. Made by fusegrid report" +
      (facts.metrics_sha256.empty() ? "." : "; sha256 of /metrics: " + facts.metrics_sha256 + "."));
  return html_list(notes);
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return escaped;
}

PageLibraries read_page_libraries(const std::filesystem::path& folder) {
  const auto read = [&](const char* name) { return read_text_file(folder / name, "library of the page"); };
  return {read("tables.js"), read("tables.css"), read("plots.js"), read("licences.txt")};
}

std::string html_page(const std::vector<ReportPart>& parts, const ReportFacts& facts,
                      const PageLibraries& libraries) {
  std::vector<Board> boards;
  for (const ReportPart& part : parts) {
    boards.insert(boards.end(), part.shown.begin(), part.shown.end());
  }
  Sections same;
  same.add("boards", "Boards", boards.empty() ? "" : html_boards(boards));
  same.add("experts", "Number of experts", html_scalings(boards));
  same.add("sizes", "Size of the model", html_sizes(boards));
  same.add("shifts", "Robustness under shifts", html_robustness(boards));
  same.add("pictures", "Pictures", html_pictures(parts));
  same.add("draws", "Drawn experts", html_draws(facts.draws));
  same.add("orders", "Orders on other zoos", html_orders(boards));
  same.add("failed", "Failed cells", html_failed(parts));
  same.add("reading", "How to read this", html_reading(boards, facts));
  Sections run;
  run.add("costs", "Costs", html_costs(boards));
  run.add("timeline", "Timeline of the run", html_timelines(parts));
  run.add("provenance", "Provenance", html_provenance(parts));
  run.add("logs", "Logs of failed cells", html_logs(parts));
  return fill_slots(kPageHtml, {{"title", "Leaderboard"},
                                {"summary", html_summary(parts, boards, facts)},
                                {"navigation", same.links() + "<li><a href=\"#run\">This run</a></li>\n"},
                                {"boards", same.text()},
                                {"run", "<nav aria-label=\"Sections of this run\">\n<ul>\n" + run.links() +
                                            "</ul>\n</nav>\n" + run.text()},
                                {"licences", escape_html(libraries.licences)},
                                {"themes", json_text(plot_themes())},
                                {"tables.css", libraries.tables_css},
                                {"page.css", kPageCss},
                                {"tables.js", libraries.tables_js},
                                {"plots.js", libraries.plots_js},
                                {"page.js", kPageJs}});
}

}  // namespace fusegrid
