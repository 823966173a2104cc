#include "report/writers.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "report/layout.h"
#include "report/metric_fixture.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kDigest = "0123abcd";

// The toy board, a second number of experts and a second seed of it.
std::vector<Board> toy_boards() {
  Results results = toy_results();
  for (const int64_t seed : {0, 1}) {
    put(results, make_cell("average", "", "ant", seed, "1"), 0.5, seed == 0 ? "1110" : "1111");
  }
  return make_boards(toy_records(results));
}

// Boards of an accuracy, of a loss and of different metrics.
std::vector<Board> metric_boards() {
  Records records = mixed_records();
  put_value(records, make_cell("average", "", "ant", 0, "1"), 0.5, 0.75);
  Records losses = records_of({{"cow", "loss"}});
  for (const std::string experts : {"ant+cow", "bee+cow"}) {
    put_numbers(losses, make_cell("average", "", "cow", 0, experts), 0.5, {1, 2, 3});
    put_numbers(losses, make_cell("fisher", "", "cow", 0, experts), 0.5, {10, 2, 3.25});
  }
  records.results.merge(losses.results);
  return make_boards(records);
}

// Compares with the committed text; FUSEGRID_REGENERATE=1 writes it anew.
void expect_golden(const std::string& file, const std::string& text) {
  const std::string path = source_folder() / "tests/report/golden" / file;
  if (std::getenv("FUSEGRID_REGENERATE") != nullptr) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::ifstream golden(path, std::ios::binary);
  const std::string expected{std::istreambuf_iterator<char>(golden), {}};
  EXPECT_EQ(text, expected) << "to accept the change: FUSEGRID_REGENERATE=1, run this test, review the diff";
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// Number of fields of each record of a CSV text, quotes respected.
std::vector<size_t> field_counts(const std::string& text) {
  std::vector<size_t> counts;
  size_t fields = 1;
  bool quoted = false;
  for (const char c : text) {
    quoted = c == '"' ? !quoted : quoted;
    if (!quoted && c == ',') {
      ++fields;
    } else if (!quoted && c == '\n') {
      counts.push_back(fields);
      fields = 1;
    }
  }
  return counts;
}

TEST(Markdown, is_as_reviewed) {
  expect_golden("leaderboard.md", markdown_report(toy_boards(), {.metrics_sha256 = kDigest}));
}

TEST(Csv, is_as_reviewed) {
  expect_golden("leaderboard.csv", csv_report(toy_boards()));
  expect_golden("settings.csv", csv_settings(toy_boards()));
}

TEST(Costs, are_as_reviewed) {
  expect_golden("costs.md", markdown_costs(toy_boards()));
  expect_golden("costs.csv", csv_costs(toy_boards()));
}

TEST(Latex, is_as_reviewed) {
  expect_golden("leaderboard.tex", latex_report(toy_boards(), {.metrics_sha256 = kDigest}));
}

TEST(Markdown, of_other_metrics_is_as_reviewed) {
  expect_golden("metrics.md", markdown_report(metric_boards(), {}));
}

TEST(Csv, of_other_metrics_is_as_reviewed) {
  expect_golden("metrics.csv", csv_report(metric_boards()));
}

TEST(Latex, of_other_metrics_is_as_reviewed) {
  expect_golden("metrics.tex", latex_report(metric_boards(), {}));
}

TEST(Markdown, escapes_what_would_act_and_keeps_tables_aligned) {
  const std::string text = markdown_report(toy_boards(), {.metrics_sha256 = kDigest});
  EXPECT_THAT(text, HasSubstr("Adapt_it\\|now"));
  EXPECT_THAT(text, HasSubstr("signal 11 (segmentation \\| fault)"));
  size_t width = 0;  // of the current table
  for (const std::string& line : split(text, '\n')) {
    const auto characters = static_cast<size_t>(std::count_if(
        line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
    if (line.rfind('|', 0) != 0) {
      width = 0;
    } else if (width == 0) {
      width = characters;
    } else {
      EXPECT_EQ(characters, width) << line;
    }
  }
}

TEST(Csv, has_as_many_fields_in_every_record) {
  for (const std::string& text :
       {csv_report(toy_boards()), csv_settings(toy_boards()), csv_costs(toy_boards())}) {
    const auto counts = field_counts(text);
    ASSERT_GT(counts.size(), 3U);
    EXPECT_THAT(counts, testing::Each(counts[0])) << text;
  }
}

TEST(Csv, lists_every_setting_with_the_chosen_one_marked) {
  const std::string text = csv_settings(toy_boards());
  EXPECT_THAT(text, HasSubstr("scaled,\"scale=0.5,mode=sum\",true,0.7,0.675,"));
  EXPECT_THAT(text, HasSubstr("scaled,\"scale=1,mode=sum\",false,0.6499999999999999,1,"));
}

TEST(Latex, is_balanced_and_escaped) {
  const std::string text = latex_report(toy_boards(), {.metrics_sha256 = kDigest});
  for (const std::string environment : {"table*", "tabular"}) {
    EXPECT_GT(count_of(text, "\\begin{" + environment + "}"), 0U);
    EXPECT_EQ(count_of(text, "\\begin{" + environment + "}"), count_of(text, "\\end{" + environment + "}"));
  }
  EXPECT_THAT(text, HasSubstr("Scaled \\& Sons"));
  EXPECT_THAT(text, HasSubstr("bee\\_fly"));
  EXPECT_THAT(text, HasSubstr("at 50\\% of\\_x"));
  EXPECT_THAT(text, HasSubstr("\\textbar{}"));
  for (const std::string& line : split(text, '\n')) {
    if (line.rfind('%', 0) != 0) {
      EXPECT_THAT(line, Not(testing::ContainsRegex("[^\\\\]%"))) << "would comment out the rest";
    }
  }
}

// Compiles the tables where a TeX is installed.
TEST(Latex, compiles) {
  const auto has = [](const std::string& command) {
    return std::system(("command -v " + command + " >/dev/null").c_str()) == 0;
  };
  const bool has_pdflatex = has("pdflatex");
  if (!has_pdflatex && !has("tectonic")) {
    GTEST_SKIP() << "neither pdflatex nor tectonic is installed";
  }
  const TemporaryFolder folder;
  const auto boards = toy_boards();
  std::ofstream(folder / "board.tex") << "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
                                         "\\usepackage[T1]{fontenc}\n\\begin{document}\n"
                                      << latex_report(boards, {.metrics_sha256 = kDigest})
                                      << latex_report(metric_boards(), {}) << "\\end{document}\n";
  const std::string command =
      "cd " + folder.path().string() + " && " +
      (has_pdflatex ? "pdflatex -interaction=nonstopmode -halt-on-error" : "tectonic") +
      " board.tex >log 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << "see the log in " << folder.path();
  EXPECT_TRUE(std::filesystem::exists(folder / "board.pdf"));
}

TEST(Markdown, says_first_what_is_unfinished) {
  const std::string text = markdown_report(toy_boards(), {.unfinished = "1 of 9 cells."});
  EXPECT_EQ(text.find("# Leaderboard\n\n**Unfinished.** 1 of 9 cells.\n"), 0U);
  EXPECT_THAT(markdown_report(toy_boards(), {}), Not(HasSubstr("Unfinished")));
  EXPECT_THAT(latex_report(toy_boards(), {.unfinished = "1 of 9 cells."}), HasSubstr("% Unfinished: 1 of 9"));
}

TEST(Layout, names_values_at_the_edge_of_what_was_tried) {
  Board board = toy_boards().at(1);
  board.rows[0].at_edge = {"scale=0.5"};
  EXPECT_THAT(board_notes(board), testing::Contains(HasSubstr("may lie beyond: Scaled & Sons scale=0.5.")));
}

TEST(Layout, says_on_how_many_groups_intervals_rest) {
  Board board = toy_boards().at(1);
  EXPECT_THAT(board_notes(board), testing::Contains(HasSubstr("not recorded")));
  board.groups = {4, 60};
  EXPECT_THAT(board_notes(board),
              testing::Contains(HasSubstr("ant 4, bee_fly 60. Intervals over fewer than 5")));
}

TEST(Layout, rounds_without_a_locale) {
  EXPECT_EQ(fixed(71.25, 1), "71.2");
  EXPECT_EQ(fixed(-0.5, 0), "-0");
  EXPECT_EQ(percent(0.71267, 2), "71.27");
  EXPECT_EQ(percent(std::nullopt), "-");
}

TEST(Layout, shows_fractions_in_percent_and_others_with_four_significant_digits) {
  EXPECT_EQ(value_text(0.71267, "fraction", 2), "71.27");
  EXPECT_EQ(value_text(0.71267, "nats", 2), "0.7127");
  EXPECT_EQ(value_text(std::nullopt, "nats"), "-");
  EXPECT_EQ(significant(2.5), "2.500");
  EXPECT_EQ(significant(-0.012341), "-0.01234");
  EXPECT_EQ(significant(0), "0.000");
  EXPECT_EQ(significant(9.99961), "10.00");
  EXPECT_EQ(significant(123.45), "123.5");
  EXPECT_EQ(significant(1234567), "1234567");
  EXPECT_EQ(significant(1.25e12), "1.250e+12");
  EXPECT_EQ(significant(1.25e-12), "1.250e-12");
}

TEST(Layout, heads_tasks_with_their_metrics_where_these_differ) {
  const std::vector<Board> boards = metric_boards();
  EXPECT_THAT(task_columns(boards.at(0)), testing::ElementsAre("ant"));
  EXPECT_THAT(task_columns(boards.at(1)),
              testing::ElementsAre("ant (Accuracy, %)", "bee_fly (MCC)", "cow (Cross-entropy, nats)"));
  EXPECT_EQ(average_columns(boards.at(0)).at(0).heading, "Average");
  EXPECT_EQ(average_columns(boards.at(1)).at(0).heading, "Relative");
}

TEST(Layout, tells_the_score_of_a_scaling_that_is_no_accuracy) {
  Scaling scaling;
  scaling.score = {"accuracy", "Accuracy", Better::kHigher, "fraction", false};
  EXPECT_EQ(scaling_title(scaling), "average against the number of experts");
  scaling.score = {"loss", "Cross-entropy", Better::kLower, "nats", false};
  EXPECT_EQ(scaling_title(scaling),
            "average against the number of experts (Cross-entropy in nats, lower is better)");
  scaling.score.relative = true;
  EXPECT_EQ(scaling_title(scaling), "relative score in % against the number of experts");
}

TEST(Layout, names_the_data_that_a_card_needs) {
  EXPECT_EQ(data_used(toy_methods().at("average")), "-");
  EXPECT_EQ(data_used(toy_methods().at("fisher")), "train inputs, gradients");
  EXPECT_EQ(data_used(toy_methods().at("adapt")), "test inputs (unlabelled)");
}

TEST(Layout, shows_parameters_that_were_tuned_or_are_not_the_defaults) {
  Row row;
  row.method = toy_methods().at("scaled");
  EXPECT_EQ(shown_parameters(row), "-");
  row.setting.parameters = "scale=0.3,mode=sum";
  EXPECT_EQ(shown_parameters(row), "defaults");
  row.tuned = {"scale"};
  EXPECT_EQ(shown_parameters(row), "scale=0.3");
  row.setting.parameters = "scale=0.3,mode=max";
  row.setting.named = "mode=max";
  EXPECT_EQ(shown_parameters(row), "scale=0.3, mode=max");
}

TEST(Layout, shows_absolute_sizes_where_no_model_tells_the_unit) {
  Row row;
  row.setting.stored_parameters = 1234;
  EXPECT_EQ(stored_text(row), "1234");
  row.stored_models = 2.25;
  EXPECT_EQ(stored_text(row), "2.2x");
}

}  // namespace
}  // namespace fusegrid
