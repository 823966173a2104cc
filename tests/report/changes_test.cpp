#include "report/changes.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "report/metric_fixture.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// `right` of `count` marks, of which the wrong ones are the first.
std::string marks(size_t right, size_t count) {
  return std::string(count - right, '0') + std::string(right, '1');
}

Records accuracies(const std::string& ant, const std::string& bee) {
  Results results;
  put(results, make_cell("average", "", "ant"), 0.5, ant);
  put(results, make_cell("average", "", "bee"), 0.5, bee);
  return toy_records(results);
}

TEST(Changes, of_a_folder_with_itself_are_none) {
  const Changes changes = compare_results(toy_records(toy_results()), toy_records(toy_results()));
  EXPECT_FALSE(changes.differ());
  for (const auto* compared : {&changes.cells, &changes.settings}) {
    for (const Compared& each : *compared) {
      EXPECT_EQ(each.change, Change::kNone) << each.name;
    }
  }
  EXPECT_EQ(changes.cells.size(), 11U) << "all that are valid";
  EXPECT_EQ(changes.settings.size(), 5U) << "of two cells or more";
}

TEST(Changes, of_one_example_are_noise_and_of_many_are_not) {
  const Records before = accuracies(marks(150, 200), marks(150, 200));
  const Changes noise = compare_results(before, accuracies(marks(149, 200), marks(150, 200)));
  EXPECT_FALSE(noise.differ());
  EXPECT_EQ(noise.cells[0].change, Change::kNoise);
  EXPECT_EQ(noise.cells[1].change, Change::kNone);

  const Changes worse = compare_results(before, accuracies(marks(100, 200), marks(150, 200)));
  EXPECT_TRUE(worse.differ());
  EXPECT_EQ(worse.cells[0].change, Change::kWorse);
  EXPECT_EQ(worse.settings[0].change, Change::kWorse);
  EXPECT_DOUBLE_EQ(worse.settings[0].after, (0.5 + 0.75) / 2);

  const Changes better = compare_results(before, accuracies(marks(200, 200), marks(150, 200)));
  EXPECT_EQ(better.cells[0].change, Change::kBetter);
}

// Each of several cells may have changed by chance, and all together they cannot.
TEST(Changes, of_a_setting_are_seen_where_those_of_its_cells_are_too_small) {
  Results before;
  Results after;
  for (int64_t seed = 0; seed < 6; ++seed) {
    for (const std::string task : {"ant", "bee", "bee_fly"}) {
      std::string one = marks(150, 200);
      std::string other = one;
      // three examples each that turn wrong, others for each cell
      for (size_t i = 0; i < 3; ++i) {
        other[199 - 3 * static_cast<size_t>(seed) - i] = '0';
      }
      put(before, make_cell("average", "", task, seed), 0.5, one);
      put(after, make_cell("average", "", task, seed), 0.5, other);
    }
  }
  const Changes changes = compare_results(toy_records(before), toy_records(after));
  for (const Compared& cell : changes.cells) {
    EXPECT_EQ(cell.change, Change::kNoise) << cell.name;
  }
  ASSERT_EQ(changes.settings.size(), 1U);
  EXPECT_EQ(changes.settings[0].change, Change::kWorse);
}

// With 3 degrees of freedom the distribution has a closed form.
TEST(Changes, of_a_mean_have_the_p_of_a_paired_t_test) {
  Records before = records_of({{"cow", "loss"}});
  Records after = before;
  put_numbers(before, make_cell("average", "", "cow"), 0.5, {1, 1, 1, 1});
  // differences 0, 0, 1, 1: mean 1/2, deviation 1 / sqrt(3), t = sqrt(3)
  put_numbers(after, make_cell("average", "", "cow"), 0.5, {1, 1, 2, 2});
  const Changes changes = compare_results(before, after);
  // 1 - 2 / pi (atan(t / sqrt(3)) + t / sqrt(3) / (1 + t^2 / 3)) = 1 - 2 / pi (pi / 4 + 1 / 2) = 1 / 2 - 1 / pi
  EXPECT_NEAR(changes.cells[0].p.value(), 0.5 - 1 / M_PI, 1e-9);
}

TEST(Changes, draw_groups_of_examples) {
  Records before = accuracies(marks(150, 200), marks(200, 200));
  Records after = accuracies(marks(130, 200), marks(200, 200));
  const double alone = compare_results(before, after).cells[0].p.value();
  std::vector<uint32_t> groups;
  for (uint32_t e = 0; e < 200; ++e) {
    groups.push_back(e / 20);  // the twenty that changed are one group and a part of another
  }
  put_groups(before, "ant", groups);
  put_groups(after, "ant", groups);
  EXPECT_LT(alone, 1e-5);
  EXPECT_GT(compare_results(before, after).cells[0].p.value(), 0.05);
}

TEST(Changes, without_outcomes_are_judged_by_the_tolerance) {
  Records before = records_of({{"cow", "loss"}});
  Records after = before;
  put_value(before, make_cell("average", "", "cow"), 0.5, 1);
  put_value(after, make_cell("average", "", "cow"), 0.5, 1.005);
  EXPECT_EQ(compare_results(before, after).cells[0].change, Change::kNoise);
  put_value(after, make_cell("average", "", "cow"), 0.5, 1.02);
  const Changes changes = compare_results(before, after);
  EXPECT_FALSE(changes.cells[0].p);
  EXPECT_EQ(changes.cells[0].change, Change::kWorse) << "a loss grew";
  EXPECT_THAT(changes_text(changes), HasSubstr("no outcomes of examples to tell it from noise by"));
}

// One in twenty of a hundred equal models would seem to have changed.
TEST(Changes, are_corrected_for_the_number_of_cells) {
  Results before;
  Results after;
  for (int64_t seed = 0; seed < 100; ++seed) {
    std::string one;
    std::string other;
    for (uint64_t e = 0; e < 100; ++e) {
      one += philox(3, static_cast<uint64_t>(seed), e)[0] % 10 < 7 ? '1' : '0';
      other += philox(4, static_cast<uint64_t>(seed), e)[0] % 10 < 7 ? '1' : '0';
    }
    put(before, make_cell("average", "", "ant", seed), 0.5, one);
    put(after, make_cell("average", "", "ant", seed), 0.5, other);
  }
  const Changes changes = compare_results(toy_records(before), toy_records(after));
  int64_t alone = 0;
  for (const Compared& cell : changes.cells) {
    EXPECT_NE(cell.change, Change::kWorse) << cell.name;
    alone += cell.p.value() < 0.05 ? 1 : 0;
  }
  EXPECT_GT(alone, 0) << "the test would not notice";
}

TEST(Changes, name_what_one_folder_alone_has) {
  Results before = toy_results();
  Results after = toy_results();
  const std::string lost = make_cell("average", "", "ant").name();
  const std::string broken = make_cell("masks", "", "ant").name();
  const std::string mended = make_cell("adapt", "", "bee_fly").name();
  after.erase(lost);
  after[broken].status = Status::kFailed;
  put(after, make_cell("adapt", "", "bee_fly"), 0.5, "11000");
  put(after, make_cell("fisher", "", "ant"), 0.5, "1100");
  Records one = toy_records(before);
  Records other = toy_records(after);
  one.bindings["toy/0/base"] = {"aa", 0};
  other.bindings["toy/0/base"] = {"bb", 0};
  const Changes changes = compare_results(one, other);
  EXPECT_THAT(changes.only_before, ElementsAre(lost));
  EXPECT_THAT(changes.only_after, ElementsAre(make_cell("fisher", "", "ant").name()));
  EXPECT_THAT(changes.broken, ElementsAre(broken));
  EXPECT_THAT(changes.mended, ElementsAre(mended));
  EXPECT_THAT(changes.bindings, ElementsAre("toy/0/base: aa -> bb"));
  EXPECT_TRUE(changes.differ());
  EXPECT_THAT(csv_changes(changes), HasSubstr("cell," + make_cell("average", "", "bee_fly").name()));
}

TEST(Changes, need_a_cell_that_both_have) {
  Results other;
  put(other, make_cell("fisher", "", "ant"), 0.5, "1100");
  EXPECT_THROW(compare_results(toy_records(toy_results()), toy_records(other)), ConfigError);
}

}  // namespace
}  // namespace fusegrid
