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
  result.outcomes = {{"test", {0, 1, 65535}, {1, 0, 1}}, {"val", {}, {}}};
  result.facts = {{"weights_sha256", "abc"}};
  result.timings = {{"fuse", 0.1}};
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
  ASSERT_EQ(copy.outcomes.size(), 2U);
  EXPECT_EQ(copy.outcomes[0].predictions, result.outcomes[0].predictions);
  EXPECT_EQ(copy.outcomes[0].correct, result.outcomes[0].correct);
  EXPECT_TRUE(copy.outcomes[1].predictions.empty());
  EXPECT_EQ(copy.facts, result.facts);
  EXPECT_EQ(copy.timings, result.timings);
  EXPECT_EQ(copy.attempts, 3);
  EXPECT_EQ(copy.worker, result.worker);
}

TEST(Result, keeps_a_loss_that_is_not_a_number) {
  Result result = full_result();
  result.metrics[1].value = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(over_the_wire(result).metrics[1].value));
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
  json["outcomes"][0][1] = nlohmann::json::binary({1, 2, 3});  // predictions have two bytes each
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
