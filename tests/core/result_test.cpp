#include "core/result.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

Result full_result() {
  Result result;
  result.name = "zoo/experts=2/ties{density=0.2}/seed=1/mnist@clean";
  result.status = Status::kInvalid;
  result.reason = "\"quoted\" \n and umlaut \xC3\xA4";
  result.log_tail = "last line";
  result.metrics = {{"accuracy", "test", 1.0 / 3, 150},
                    {"loss", "val", std::numeric_limits<double>::infinity(), 2}};
  result.transient = true;
  result.outcomes = {{"test", "accuracy", 1, {1, 0, 1}},
                     {"test", "depth", 2, {0.5F, 1, -0.0F, std::numeric_limits<float>::infinity()}},
                     {"val", "accuracy", 1, {}}};
  result.predictions = {{"test", {0, -1, 65536}}, {"val", {}}};
  result.bindings = {{"parameters", "density=0.2,scale=0.3"}};
  result.facts = {{"weights_sha256", "abc"}};
  result.costs = {{"fuse_s", 0.1}};
  result.attempts = 3;
  result.worker = "host/rank1/cpu";
  return result;
}

Result over_the_wire(const Result& result) {
  return nlohmann::json::from_cbor(nlohmann::json::to_cbor(nlohmann::json(result))).get<Result>();
}

TEST(Result, travels_without_loss) {
  const Result result = full_result();
  const Result copy = over_the_wire(result);
  EXPECT_EQ(copy.name, result.name);
  EXPECT_EQ(copy.status, result.status);
  EXPECT_EQ(copy.reason, result.reason);
  EXPECT_EQ(copy.log_tail, result.log_tail);
  ASSERT_EQ(copy.metrics.size(), 2U);
  EXPECT_EQ(copy.metrics[0].value, 1.0 / 3);
  EXPECT_EQ(copy.metrics[0].count, 150);
  EXPECT_TRUE(std::isinf(copy.metrics[1].value));
  EXPECT_TRUE(copy.transient);
  ASSERT_EQ(copy.outcomes.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(copy.outcomes[i].split, result.outcomes[i].split);
    EXPECT_EQ(copy.outcomes[i].metric, result.outcomes[i].metric);
    EXPECT_EQ(copy.outcomes[i].width, result.outcomes[i].width);
    EXPECT_EQ(copy.outcomes[i].rows, result.outcomes[i].rows);
  }
  EXPECT_EQ(copy.outcomes[1].examples(), 2);
  EXPECT_TRUE(std::signbit(copy.outcomes[1].rows[2]));
  ASSERT_EQ(copy.predictions.size(), 2U);
  EXPECT_EQ(copy.predictions[0].classes, result.predictions[0].classes);
  EXPECT_TRUE(copy.predictions[1].classes.empty());
  EXPECT_EQ(copy.bindings, result.bindings);
  EXPECT_EQ(copy.facts, result.facts);
  EXPECT_EQ(copy.costs, result.costs);
  EXPECT_EQ(copy.attempts, 3);
  EXPECT_EQ(copy.worker, result.worker);
}

// One byte an example where that is enough.
TEST(Result, stores_marks_as_bytes_and_other_rows_as_reals) {
  const nlohmann::json json = full_result();
  EXPECT_EQ(json["outcomes"][0][3], "u8");
  EXPECT_EQ(json["outcomes"][0][4].get_binary().size(), 3U);
  EXPECT_EQ(json["outcomes"][1][3], "f32");
  for (const std::vector<float>& rows : {std::vector<float>{0.5F}, {2}, {-1}, {-0.0F}}) {
    EXPECT_FALSE((Outcomes{"test", "m", 1, rows}.are_marks())) << rows[0];
  }
  EXPECT_FALSE((Outcomes{"test", "m", 2, {0, 1}}.are_marks()));
}

TEST(Result, keeps_a_loss_that_is_not_a_number) {
  Result result = full_result();
  result.metrics[1].value = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(over_the_wire(result).metrics[1].value));
}

TEST(Result, was_evaluated_on_the_splits_of_its_metrics_outcomes_and_predictions) {
  Result result;
  EXPECT_TRUE(splits_of(result).empty());
  result.metrics = {{"loss", "val", 0, 1}, {"accuracy", "val", 0, 1}};
  EXPECT_EQ(splits_of(result), (std::set<std::string>{"val"}));
  result.outcomes = {{"test", "mcc", 1, {}}};  // whose metric is undefined
  EXPECT_EQ(splits_of(result), (std::set<std::string>{"test", "val"}));
  result.outcomes.clear();
  result.predictions = {{"train", {}}};
  EXPECT_EQ(splits_of(result), (std::set<std::string>{"train", "val"}));
}

TEST(Result, reading_replaces_what_was_there) {
  Result target = full_result();
  from_json(nlohmann::json(Result{}), target);
  EXPECT_TRUE(target.metrics.empty());
  EXPECT_TRUE(target.facts.empty());
  EXPECT_EQ(target.status, Status::kValid);
}

TEST(Result, refuses_half_an_entry_and_an_unknown_status) {
  nlohmann::json json = full_result();
  json["predictions"][0][1] = nlohmann::json::binary({1, 2, 3});  // classes have four bytes each
  EXPECT_THROW(json.get<Result>(), DataError);
  json = full_result();
  json["outcomes"][0][3] = "u4";
  EXPECT_THROW(json.get<Result>(), DataError);
  EXPECT_THROW(parse_status("good"), DataError);
}

TEST(Status, reads_back) {
  for (const Status status : {Status::kValid, Status::kInvalid, Status::kFailed}) {
    EXPECT_EQ(parse_status(to_string(status)), status);
  }
}

}  // namespace
}  // namespace fusegrid
