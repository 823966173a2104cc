#include <gtest/gtest.h>

#include "fusion/whole_model/validation_score.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::swad_test {
namespace {

std::vector<double> losses_of(const TestZoo& zoo) {
  std::vector<double> losses;
  zoo.with_needs({Need::kValidationExamples}, [&](const FusionInput& in) {
    const ValidationScorer score(in);
    for (const Weights& expert : zoo.experts) {
      losses.push_back(score(expert).loss);
    }
  });
  return losses;
}

// Checkpoints in the order of `ranks`: the loss of the one at i is the ranks[i]-th lowest.
TestZoo run_with_losses(const std::vector<size_t>& ranks) {
  TestZoo zoo = random_zoo(ranks.size(), 0.5);
  const std::vector<double> losses = losses_of(zoo);
  std::vector<size_t> by_loss(losses.size());
  for (size_t i = 0; i < by_loss.size(); ++i) {
    by_loss[i] = i;
  }
  std::sort(by_loss.begin(), by_loss.end(), [&](size_t a, size_t b) { return losses[a] < losses[b]; });
  TestZoo run = zoo;
  for (size_t i = 0; i < ranks.size(); ++i) {
    run.experts[i] = zoo.experts[by_loss[ranks[i]]];
  }
  return run;
}

Weights mean_of_span(TestZoo zoo, size_t begin, size_t end) {
  zoo.experts = {zoo.experts.begin() + static_cast<std::ptrdiff_t>(begin),
                 zoo.experts.begin() + static_cast<std::ptrdiff_t>(end)};
  zoo.tasks = {zoo.tasks.begin() + static_cast<std::ptrdiff_t>(begin),
               zoo.tasks.begin() + static_cast<std::ptrdiff_t>(end)};
  return zoo.fuse("simple_average").weights;
}

// 4 2 0 1 3 5: of two in a row the lowest first stands at 2; all of the last two are above the mean of 0 and 1.
TEST(Swad, averages_from_where_the_loss_stops_falling_to_where_it_rises) {
  const TestZoo run = run_with_losses({4, 2, 0, 1, 3, 5});
  const Merged merged = run.fuse("swad{converged=2,overfitted=2,tolerance=1}");
  EXPECT_EQ(merged.facts.at("chosen"), run.tasks[2] + " to " + run.tasks[2]);
  EXPECT_EQ(digest(merged.weights), digest(run.experts[2]));

  const Merged tolerant = run.fuse("swad{converged=2,overfitted=2,tolerance=1000}");
  EXPECT_EQ(digest(tolerant.weights), digest(mean_of_span(run, 2, 6)));
}

TEST(Swad, of_a_loss_that_falls_to_the_end_is_the_last_checkpoint) {
  const TestZoo run = run_with_losses({3, 2, 1, 0});
  EXPECT_EQ(digest(run.fuse("swad").weights), digest(run.experts[3]));
}

TEST(Swad, of_a_loss_that_only_rises_begins_at_the_first) {
  const TestZoo run = run_with_losses({0, 1, 2, 3});
  EXPECT_EQ(digest(run.fuse("swad{tolerance=1000}").weights), digest(mean_of_span(run, 0, 4)));
}

}  // namespace
}  // namespace fusegrid::swad_test
