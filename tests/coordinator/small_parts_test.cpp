#include <cmath>
#include <iostream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "coordinator/campaign.h"
#include "coordinator/cost_model.h"
#include "coordinator/progress_line.h"
#include "coordinator/rerun_hint.h"
#include "coordinator/stop_signal.h"

namespace fusegrid {
namespace {

using std::chrono::seconds;

TEST(CostModel, LearnsFromTimings) {
  CostModel model;
  EXPECT_EQ(model.estimate("fuse/ties", 3), 3);

  model.observe("fuse/ties", 10);
  EXPECT_EQ(model.estimate("fuse/ties", 3), 10);
  model.observe("fuse/ties", 20);
  EXPECT_DOUBLE_EQ(model.estimate("fuse/ties", 3), 13);
  model.observe("fuse/ties", -1);
  model.observe("fuse/ties", std::nan(""));
  EXPECT_DOUBLE_EQ(model.estimate("fuse/ties", 3), 13);
  EXPECT_EQ(model.estimate("fuse/dare", 4), 4);
}

TEST(RerunHint, MatchesTheNameAlone) {
  EXPECT_EQ(rerun_hint("z/experts=8/ties{density=0.2}/seed=0/a@clean"),
            R"(--retry-failed --only '^z/experts=8/ties\{density=0\.2\}/seed=0/a@clean$')");
  EXPECT_EQ(rerun_hint("a+b's"), R"(--retry-failed --only '^a\+b'\''s$')");
}

TEST(ProgressText, TellsCountsAndTimeToGo) {
  EXPECT_EQ(progress_text({10, 2, 3, 12, 50, 100}, 3700),
            "done 10, failed 2, running 3, left 12 of 24, 1:01:40 elapsed, about 1:01:40 to go");
  EXPECT_EQ(progress_text({0, 0, 3, 12, 100, 100}, 5),
            "done 0, failed 0, running 3, left 12 of 12, 0:00:05 elapsed");
  // without estimates by the number of items
  EXPECT_THAT(progress_text({6, 0, 0, 3, 0, 0}, 60), testing::HasSubstr("about 0:00:30 to go"));
}

TEST(ProgressLine, IsRareWhereNobodyWatches) {
  std::ostringstream out;
  const ProgressLine::Time start;
  ProgressLine line(out, false, false, start);

  for (int s = 1; s <= 65; ++s) {
    line.update({1, 0, 0, 1, 0, 0}, start + seconds(s));
  }

  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, testing::HasSubstr("0:00:30 elapsed"));
}

TEST(ProgressLine, MakesRoomForLinesThatStay) {
  std::ostringstream out;
  const ProgressLine::Time start;
  ProgressLine line(out, true, false, start);

  line.update({1, 0, 0, 1, 0, 0}, start + seconds(1));
  line.say("failed: x");

  EXPECT_THAT(out.str(), testing::HasSubstr(" \rfailed: x\n"));
}

TEST(ProgressLine, SaysFailuresEvenWhenQuiet) {
  std::ostringstream out;
  ProgressLine line(out, false, true, {});

  line.update({1, 0, 0, 1, 0, 0}, ProgressLine::Time() + seconds(100));
  line.finish({2, 0, 0, 0, 0, 0}, ProgressLine::Time() + seconds(100));
  line.say("failed: x");

  EXPECT_EQ(out.str(), "failed: x\n");
}

TEST(StopSignalDeathTest, EndsTheProcessAtTheSecondInterrupt) {
  EXPECT_EXIT(
      {
        const StopSignal stop;
        raise(SIGINT);
        std::cerr << (stop.seen() == SIGINT ? "seen" : "not seen");
        raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "^seen$");
}

TEST(CampaignReport, ChoosesTheExitCode) {
  CampaignReport report;
  EXPECT_EQ(report.exit_code(), ExitCode::kOk);
  report.invalid = 1;
  EXPECT_EQ(report.exit_code(), ExitCode::kCellsFailed);
  report.invalid = 0;
  report.failed = 1;
  EXPECT_EQ(report.exit_code(), ExitCode::kCellsFailed);
  report.stopped = true;
  EXPECT_EQ(report.exit_code(), ExitCode::kStopped);
}

}  // namespace
}  // namespace fusegrid
