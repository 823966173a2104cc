#include "coordinator/example_counts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/fake_methods.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Result result_of(const std::string& task, int64_t val, int64_t test, const std::string& experts = "2") {
  Result result;
  result.name = "toy/experts=" + experts + "/fake_average/seed=0/" + task + "@clean";
  result.metrics = {{"m", "val", 0.5, val}, {"m", "test", 0.5, test}};
  return result;
}

class Counts : public testing::Test {
 protected:
  static void SetUpTestSuite() { register_fake_methods(); }
  JobSpec job_ =
      parse_job("zoo = toy\n[fake_average]\n[task:gsm8k]\ncommand = c {request}\nmetric = m\n", "j");
};

TEST_F(Counts, of_a_task_are_those_of_its_first_result) {
  ExampleCounts counts(job_, {});
  Result first = result_of("gsm8k", 10, 100);
  counts.judge(first);
  EXPECT_EQ(first.status, Status::kValid);
  Result same = result_of("gsm8k", 10, 100, "3");
  counts.judge(same);
  EXPECT_EQ(same.status, Status::kValid);
  Result fewer = result_of("gsm8k", 10, 99, "3");
  counts.judge(fewer);
  EXPECT_EQ(fewer.status, Status::kInvalid);
  EXPECT_THAT(fewer.reason,
              AllOf(HasSubstr("about 99 examples of test, but about 100 for cell '" + first.name),
                    HasSubstr("--forget")));
}

TEST_F(Counts, of_tasks_of_a_zoo_are_none_of_theirs) {
  ExampleCounts counts(job_, {});
  for (const int64_t count : {100, 99}) {
    Result result = result_of("math", 10, count);
    counts.judge(result);
    EXPECT_EQ(result.status, Status::kValid);
  }
}

TEST_F(Counts, are_those_that_are_recorded) {
  const Result recorded = result_of("gsm8k", 10, 100);
  ExampleCounts counts(job_, {{recorded.name, recorded}});
  Result other = result_of("gsm8k", 11, 100, "3");
  counts.judge(other);
  EXPECT_EQ(other.status, Status::kInvalid);
  Result failed = result_of("gsm8k", 11, 100, "3");
  failed.status = Status::kFailed;
  ExampleCounts none(job_, {{failed.name, failed}});
  Result valid = result_of("gsm8k", 12, 100);
  none.judge(valid);
  EXPECT_EQ(valid.status, Status::kValid) << "what failed says nothing";
}

}  // namespace
}  // namespace fusegrid
