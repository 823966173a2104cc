#include "coordinator/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/fake_methods.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Launch : public testing::Test {
 protected:
  static void SetUpTestSuite() { register_fake_methods(); }

  static Cell cell(const std::string& parameters, const std::string& task = "a") {
    return {"toy", "2", "fake_trim", parameters, 0, task, "clean"};
  }
  // As the dispatcher records it.
  static Result recorded(const Cell& cell, Status status = Status::kValid) {
    Result result;
    result.name = cell.name();
    result.status = status;
    result.bindings = cell_bindings(cell);
    return result;
  }
  static std::string error_of(const std::vector<Cell>& cells, const std::map<std::string, Result>& results) {
    try {
      check_fresh(cells, results);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  }
};

TEST_F(Launch, a_recorded_cell_is_fresh_while_all_its_parameters_are_the_same) {
  const std::vector<Cell> cells{cell(""), cell("scale=0.5")};
  std::map<std::string, Result> results;
  for (const auto& one : cells) {
    results[one.name()] = recorded(one);
  }
  EXPECT_EQ(error_of(cells, results), "(no error)");
  EXPECT_EQ(error_of(cells, {}), "(no error)");
}

// What a changed default, and a new option, do to results of before.
TEST_F(Launch, stale_cells_are_named_with_what_differs_and_the_remedy) {
  const std::vector<Cell> cells{cell(""), cell("scale=0.5")};
  std::map<std::string, Result> results;
  for (const auto& one : cells) {
    results[one.name()] = recorded(one);
  }
  results[cells[0].name()].bindings["parameters"] = "density=0.1,scale=0.3,merge=sum,weights=";
  EXPECT_THAT(error_of(cells, results),
              AllOf(HasSubstr("1 of 2 cells"), HasSubstr(cells[0].name()), Not(HasSubstr(cells[1].name())),
                    HasSubstr("parameters was 'density=0.1,"), HasSubstr("now 'density=0.2,"),
                    HasSubstr("--forget REGEX")));
  results[cells[1].name()].bindings.clear();
  EXPECT_THAT(error_of(cells, results), HasSubstr("parameters was nothing, now"));
}

TEST_F(Launch, a_failed_cell_is_never_stale) {
  const std::vector<Cell> cells{cell("")};
  Result failed = recorded(cells[0], Status::kFailed);
  failed.bindings["parameters"] = "x=1";
  EXPECT_EQ(error_of(cells, {{failed.name, failed}}), "(no error)");
}

TEST_F(Launch, many_stale_cells_are_counted) {
  std::vector<Cell> cells;
  std::map<std::string, Result> results;
  for (int i = 0; i < 9; ++i) {
    cells.push_back(cell("", "task" + std::to_string(i)));
    results[cells.back().name()] = recorded(cells.back());
    results[cells.back().name()].bindings["command"] = "sha";
  }
  EXPECT_THAT(error_of(cells, results), AllOf(HasSubstr("9 of 9 cells"), HasSubstr("and 4 more"),
                                              HasSubstr("command was 'sha', now nothing")));
}

TEST_F(Launch, methods_are_described_once_by_their_cards) {
  std::vector<Cell> cells{cell(""), cell("scale=1")};
  cells.push_back({"toy", "2", "fake_train", "", 0, "a", "clean"});
  cells.push_back({"toy", "2", "fake_oracle", "", 0, "a", "clean"});
  const auto records = method_records(cells);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].name, "fake_oracle");
  EXPECT_TRUE(records[0].told_task);
  EXPECT_EQ(records[1].data, to_string(Need::kTrainInputs));
  EXPECT_EQ(records[2].title, "Trim");
  EXPECT_EQ(records[2].data, "");
  EXPECT_FALSE(records[2].told_task);
}

TEST(MethodRecords, describe_calls_that_see_other_data_apart) {
  const auto adapts = [](const std::string& parameters) {
    return Cell{"toy", "2", "fake_peek", parameters, 0, "a", "clean"};
  };
  const auto records =
      method_records({adapts("scale=1"), adapts("inputs=validation,scale=2"), adapts("inputs=validation")});
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].name, "fake_peek");
  EXPECT_EQ(records[0].data, to_string(Need::kTestInputs));
  EXPECT_EQ(records[1].name, "fake_peek{inputs=validation}");
  EXPECT_EQ(records[1].title, "Peek (inputs=validation)");
  EXPECT_EQ(records[1].data, to_string(Need::kValidationInputs));
}

}  // namespace
}  // namespace fusegrid
