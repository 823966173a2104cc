#include "methods/alignment_checks.h"

namespace fusegrid::straight_through_test {
namespace {

TEST(StraightThrough, without_a_step_away_is_weight_matching) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(2, 2, family);
    EXPECT_EQ(digest(zoo.fuse("straight_through{lr=0,steps=1}").weights),
              digest(zoo.fuse("weight_matching").weights));
  }
}

TEST(StraightThrough, aligns_permuted_copies) {
  expect_aligns_copies("straight_through{steps=2}", 3);
  expect_aligns_copies("straight_through{steps=2}", 2, "cnn");
}

TEST(StraightThrough, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("straight_through{steps=2}");
}

TEST(StraightThrough, draws_a_path_between_two_models) {
  expect_draws_a_path("straight_through", ",steps=3");
}

// The loss of the middle on the training examples that it sees: never above that of weight matching, and below it
// somewhere.
TEST(StraightThrough, lowers_the_loss_in_the_middle) {
  int lower = 0;
  for (const double spread : {2.0, 3.0, 4.0}) {
    const TestZoo zoo = unit_zoo(2, spread);
    const auto loss = [&](const std::string& call) {
      const Merged merged = zoo.fuse(call);
      Network network = *zoo.network;
      for (const auto& [task, readout] : merged.model->readouts) {
        network.readouts[task] = readout;
      }
      double sum = 0;
      for (const std::string& task : zoo.tasks) {
        const Examples examples = zoo.data.examples(task, "train", -1);
        const at::Tensor output = network.output(merged.weights, network.ready(examples.inputs), task);
        sum += zoo.data.kind(task).losses(output, examples).mean().item<double>() / 2;
      }
      return sum;
    };
    const double trained = loss("straight_through{steps=60,lr=0.3}");
    const double matched = loss("weight_matching");
    EXPECT_LE(trained, matched + 1e-6);
    lower += trained < matched - 1e-3 ? 1 : 0;
  }
  EXPECT_GE(lower, 1);
}

TEST(StraightThrough, is_refused_without_examples) {
  TestZoo zoo = unit_zoo(2);
  zoo.owners = {{"nobody's", "nobody"}};
  EXPECT_THROW(zoo.fuse("straight_through"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::straight_through_test
