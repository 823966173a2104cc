#include "report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/png.h"
#include "core/text.h"
#include "report/metric_fixture.h"
#include "report/plots.h"
#include "report/timeline.h"

namespace fusegrid {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const PageLibraries kLibraries{"tables script", "tables style", "plots script", "licences"};

std::string page_of(const Records& records, const std::string& unfinished = "") {
  return html_page({{"toys", records, make_boards(records), make_boards(records)}},
                   {.unfinished = unfinished}, kLibraries);
}

std::vector<Plot> plots_of(const Board& board) {
  std::vector<Plot> plots = board_plots(board, "b");
  for (const auto& more : {sensitivity_plots(board, "b"), path_plots(board, "b"), cost_plots(board, "b")}) {
    plots.insert(plots.end(), more.begin(), more.end());
  }
  return plots;
}

std::vector<std::string> titles_of(const std::vector<Plot>& plots) {
  std::vector<std::string> titles;
  for (const Plot& plot : plots) {
    titles.push_back(plot.title);
  }
  return titles;
}

// What stands in the page's elements `script` of this kind.
std::vector<std::string> scripts_of(const std::string& page, const std::string& start) {
  std::vector<std::string> scripts;
  for (size_t at = page.find(start); at != std::string::npos; at = page.find(start, at)) {
    at += start.size();
    scripts.push_back(page.substr(at, page.find("</script>", at) - at));
  }
  return scripts;
}

TEST(Page, holds_the_board_its_notes_and_the_libraries) {
  const std::string page = page_of(toy_records(toy_results()));
  EXPECT_THAT(page, HasSubstr("<summary>toy, 2 experts</summary>"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">Scaled &amp; Sons</th><td>Task not told</td>"
                              "<td class=\"number\" data-order=\"0.75\">75.0</td>"));
  EXPECT_THAT(page, HasSubstr("Test examples: ant 4, bee_fly 5."));
  for (const std::string part : {"tables script", "tables style", "plots script", "licences"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_THAT(page, Not(HasSubstr("{{")));
}

TEST(Page, refers_to_nothing_outside_itself) {
  const std::string page = page_of(toy_records(toy_results()));
  for (const std::string reference : {" src=", "@import", "href=\"http", "url(http"}) {
    EXPECT_THAT(page, Not(HasSubstr(reference)));
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

TEST(Page, has_sections_for_what_there_is_alone) {
  const std::string page = page_of(toy_records(toy_results()));
  EXPECT_THAT(page, HasSubstr("<section id=\"failed\""));
  for (const std::string absent : {"experts", "sizes", "shifts", "draws", "timeline", "logs"}) {
    EXPECT_THAT(page, Not(HasSubstr("<section id=\"" + absent + "\""))) << absent;
  }
  EXPECT_THAT(page, Not(HasSubstr("Unfinished")));
  EXPECT_THAT(page_of(toy_records(toy_results()), "1 of 9 cells."), HasSubstr("</strong> 1 of 9 cells."));

  Results results;
  Cell shifted = make_cell("average", "", "ant");
  shifted.shift = "fog-3";
  put(results, make_cell("average", "", "ant"), 0.5, "1111");
  put(results, shifted, 0.5, "1100");
  put(results, make_cell("average", "", "ant", 0, "1"), 0.5, "1110");
  const std::string other = page_of(toy_records(results));
  for (const std::string present : {"experts", "shifts"}) {
    EXPECT_THAT(other, HasSubstr("<section id=\"" + present + "\"")) << present;
  }
  EXPECT_THAT(other, Not(HasSubstr("<section id=\"failed\"")));
}

TEST(Page, shows_the_pictures_that_models_made_beside_real_ones) {
  Results results = toy_results();
  EXPECT_THAT(page_of(toy_records(results)), Not(HasSubstr("id=\"pictures\"")));
  const std::string made = png_url({1, 1, 1, {7}}), real = png_url({1, 1, 1, {9}});
  for (auto& [name, result] : results) {
    if (name.find("/ant@") != std::string::npos) {
      result.facts["pictures test"] = made;
      result.facts["real pictures test"] = real;
    } else {
      result.facts["pictures test"] = "data:image/png;base64,AA\"><script>";
    }
  }
  const std::string page = page_of(toy_records(results));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">Real pictures</th><td><img src=\"" + real +
                              "\" alt=\"Real pictures, ant\"></td></tr>"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">Scaled &amp; Sons</th><td><img src=\"" + made + "\""));
  EXPECT_THAT(page, Not(HasSubstr("base64,AA"))) << "no picture";
}

TEST(Page, shows_the_pictures_of_rows_of_one_method_that_are_told_apart) {
  Results results = toy_results();
  const std::string made = png_url({1, 1, 1, {7}});
  results.at(make_cell("scaled", "scale=0.5,mode=sum", "ant").name()).facts["pictures test"] = made;
  Records records = toy_records(results);
  records.methods["scaled{scale=0.5}"] = records.methods.at("scaled");
  records.methods["scaled{scale=0.5}"].name = "scaled{scale=0.5}";
  records.methods["scaled{scale=0.5}"].title = "Half";
  EXPECT_THAT(page_of(records), HasSubstr("<th scope=\"row\">Half</th><td><img src=\"" + made + "\""));
}

TEST(Page, escapes_what_users_wrote) {
  const std::string hostile = "</script><script>alert(1)</script><!-- \" ' & \xff";
  Records records = toy_records(toy_results());
  records.methods.at("scaled").title = hostile;
  records.methods.at("average").title = "{{title}}";
  for (auto& [name, result] : records.results) {
    if (result.status == Status::kFailed) {
      result.reason = result.log_tail = hostile;
    }
  }
  records.runs.push_back({"grid", "", {{"argv", {hostile}}, {"started", hostile}}, {}, {}, {}});
  const std::string page = page_of(records);
  EXPECT_THAT(page, Not(HasSubstr("<script>")));
  EXPECT_THAT(page, HasSubstr("&lt;/script&gt;&lt;script&gt;alert(1)"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">{{title}}</th>"));
  const auto specs = scripts_of(page, "<script type=\"application/json\">");
  EXPECT_FALSE(specs.empty());
  for (const std::string& spec : specs) {
    EXPECT_NO_THROW(json::parse(spec)) << spec;
    EXPECT_THAT(spec, Not(HasSubstr("<")));
  }
}

TEST(Page, has_plots_with_names_of_their_own_descriptions_and_data) {
  Records records = toy_records(toy_results());
  put_groups(records, "ant", {0, 1, 2, 3});
  records.results.at(make_cell("masks", "", "ant").name()).costs["fuse_s"] = 0.5;  // else all cost the same
  const std::vector<Plot> plots = plots_of(make_boards(records).at(0));
  EXPECT_THAT(titles_of(plots),
              testing::ElementsAre("Tasks by methods", "Score against stored numbers", "Scaled & Sons: scale",
                                   "Score against seconds of a merge"));
  std::set<std::string> names;
  for (const Plot& plot : plots) {
    EXPECT_TRUE(names.insert(plot.id).second) << plot.id;
    EXPECT_GT(plot.description.size(), plot.title.size());
    EXPECT_EQ(plot.spec.at("data").at("values"), plot.csv);
    EXPECT_EQ(plot.spec.at("description"), plot.description);
    EXPECT_GT(split(plot.csv, '\n').size(), 2U);
  }
}

TEST(Plots, of_tasks_show_the_numbers_of_the_table) {
  const Plot plot = board_plots(make_boards(toy_records(toy_results())).at(0), "b").at(0);
  EXPECT_THAT(plot.csv, HasSubstr("method,task,value,text,place\n"));
  EXPECT_THAT(plot.csv, HasSubstr("Scaled & Sons,ant,0.75,75.0,"));
  EXPECT_THAT(plot.csv, HasSubstr("Individual,ant,1,100.0,1.000\n"));
}

TEST(Plots, of_parameters_go_through_the_chosen_setting) {
  const Board board = make_boards(toy_records(toy_results())).at(0);
  EXPECT_EQ(sensitivity_plots(board, "b").at(0).csv,
            "value,split,score,chosen\n0.5,validation,0.7,yes\n0.5,test,0.675,yes\n"
            "1,validation,0.6499999999999999,no\n1,test,1,no\n");
}

TEST(Plots, of_costs_join_those_that_no_other_beats) {
  const std::string csv = board_plots(make_boards(toy_records(toy_results())).at(0), "b").at(1).csv;
  EXPECT_THAT(csv, HasSubstr("Scaled & Sons,Task not told,1,0.675,"));
  EXPECT_THAT(csv, testing::ContainsRegex("Scaled & Sons,[^\n]*,yes\n"));
  EXPECT_THAT(csv, testing::ContainsRegex("Average,[^\n]*,no\n"));
  EXPECT_THAT(csv, testing::ContainsRegex("Individual,[^\n]*,yes\n"));
}

TEST(Plots, of_shifts_have_one_for_each_kind_by_severity) {
  Results results;
  put(results, make_cell("average", "", "ant"), 0.5, "1111");
  for (const auto& [shift, outcomes] : {std::pair("fog-1", "1110"), {"fog-3", "1100"}, {"snow", "1000"}}) {
    Cell cell = make_cell("average", "", "ant");
    cell.shift = shift;
    put(results, cell, 0.5, outcomes);
  }
  const auto found = make_robustness(make_boards(toy_records(results)));
  ASSERT_EQ(found.size(), 1U);
  const std::vector<Plot> plots = robustness_plots(found[0], "r");
  EXPECT_THAT(titles_of(plots), testing::ElementsAre("fog", "snow"));
  EXPECT_THAT(plots[0].csv, HasSubstr("Average,Average,0,1,"));
  EXPECT_THAT(plots[0].csv, HasSubstr("Average,Average,3,0.5,"));
}

TEST(SizeSeries, are_of_zoos_that_differ_in_their_last_part) {
  Records records = toy_records({});
  for (const auto& [zoo, stored, outcomes] :
       {std::tuple("toy-large", 300.0, "1111"), {"toy-small", 100.0, "1100"}, {"other", 200.0, "1000"}}) {
    Cell cell = make_cell("average", "", "ant");
    cell.zoo = zoo;
    put(records.results, cell, 0.5, outcomes, stored);
    records.tasks[{zoo, "ant"}] = toy_task("ant");
    records.tasks[{zoo, "ant"}].zoo = zoo;
  }
  const auto found = make_size_series(make_boards(records));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].family, "toy");
  EXPECT_THAT(found[0].zoos, testing::ElementsAre("toy-small", "toy-large"));
  EXPECT_THAT(found[0].parameters, testing::ElementsAre(100, 300));
  EXPECT_THAT(found[0].lines.at(0).average, testing::ElementsAre(0.5, 1.0));
  EXPECT_THAT(size_plot(found[0], "s").csv, HasSubstr("Average,Average,300,1,"));
}

TEST(Timelines, tell_how_busy_the_ranks_of_a_launch_were) {
  Records records = toy_records({});
  const auto put_timed = [&](const std::string& task, int64_t seed, double began, double ended,
                             const char* worker) {
    const Cell cell = make_cell("average", "", task, seed);
    put(records.results, cell, 0.5, "1100");
    Result& result = records.results.at(cell.name());
    result.costs = {{"began_s", began}, {"ended_s", ended}, {"evaluate_s", 1}};
    result.worker = worker;
  };
  records.runs = {{"grid", "", {{"started", "1970-01-01T00:00:50Z"}}, {}, {}, {}},
                  {"grid", "", {{"started", "1970-01-01T00:01:40Z"}}, {}, {}, {}}};
  put_timed("ant", 0, 60, 64, "host rank 1");
  put_timed("bee", 0, 64, 65, "host rank 1");
  put_timed("ant", 1, 62, 70, "host rank 2");
  put_timed("ant", 2, 200, 201, "host rank 1");
  const auto timelines = make_timelines(records);
  ASSERT_EQ(timelines.size(), 2U);
  EXPECT_EQ(timelines[0].title, "launch 0");
  EXPECT_EQ(timelines[1].title, "launch 1");
  EXPECT_DOUBLE_EQ(timelines[0].seconds, 10);
  EXPECT_DOUBLE_EQ(timelines[0].efficiency(), 13.0 / 20);
  ASSERT_EQ(timelines[0].spans.size(), 4U) << "the two evaluations of rank 1 are one span";
  EXPECT_EQ(timelines[0].spans[0].phase, "merge");
  EXPECT_DOUBLE_EQ(timelines[0].spans[0].end, 3);
  EXPECT_DOUBLE_EQ(timelines[0].spans[1].end, 5);
  EXPECT_EQ(lane_table(timelines[0]).lines.back().cells.at(3).text, "65.0");
}

}  // namespace
}  // namespace fusegrid
