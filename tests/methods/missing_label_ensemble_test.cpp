#include <gmock/gmock.h>

#include "methods/ensemble_checks.h"

namespace fusegrid::missing_label_ensemble_test {
namespace {

using testing::HasSubstr;

// Tasks of 3, 4 and 5 classes. Of task1 task0 has seen two classes, task1 three others and one of these, task2 all.
TestZoo zoo_of_some_classes() {
  TestZoo zoo = random_zoo(3);
  zoo.classes_seen = {{"task0", {{"task1", {0, 1}}}}, {"task1", {{"task1", {1, 2, 3}}}}};
  return zoo;
}

TEST(MissingLabelEnsemble, averages_a_class_over_the_experts_that_have_seen_it) {
  const TestZoo zoo = zoo_of_some_classes();
  std::vector<at::Tensor> z;
  for (const Weights& expert : zoo.experts) {
    z.push_back(zoo.logits_of(expert, "task1"));
  }
  const auto column = [&](size_t expert, int64_t c) { return z[expert].select(1, c); };
  const auto mean = [&] {
    return at::stack({(column(0, 0) + column(2, 0)) / 2, (column(0, 1) + column(1, 1) + column(2, 1)) / 3,
                      (column(1, 2) + column(2, 2)) / 2, (column(1, 3) + column(2, 3)) / 2},
                     1);
  };
  expect_close(zoo.logits(zoo.fuse("missing_label_ensemble"), "task1"), mean(), 1e-6);
  for (at::Tensor& answer : z) {
    answer = at::softmax(answer, 1);
  }
  const at::Tensor means = mean();
  expect_close(zoo.logits(zoo.fuse("missing_label_ensemble{level=probabilities}"), "task1").exp(),
               means / means.sum(1, true), 1e-6);
}

TEST(MissingLabelEnsemble, of_tasks_whose_classes_all_have_seen_is_the_simple_ensemble) {
  const TestZoo zoo = zoo_of_some_classes();
  for (const std::string level : {"{level=logits}", "{level=probabilities}"}) {
    for (const std::string task : {"task0", "task2"}) {
      expect_close(at::log_softmax(zoo.logits(zoo.fuse("missing_label_ensemble" + level), task), 1),
                   at::log_softmax(zoo.logits(zoo.fuse("simple_ensemble" + level), task), 1), 1e-6);
    }
  }
}

TEST(MissingLabelEnsemble, refuses_classes_that_nobody_has_seen) {
  TestZoo zoo = zoo_of_some_classes();
  zoo.classes_seen["task2"]["task1"] = {1, 3};
  zoo.classes_seen["task1"]["task1"] = {1, 3};
  const Merged merged = zoo.fuse("missing_label_ensemble");
  EXPECT_THAT([&] { zoo.logits(merged, "task1"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("none has seen class 2")));
}

TEST(MissingLabelEnsemble, is_told_by_its_card_alone_what_experts_have_seen) {
  const TestZoo zoo = zoo_of_some_classes();
  zoo.with_needs({}, [](const FusionInput& in) { EXPECT_THROW(in.classes_seen(), AccessError); });
}

TEST(MissingLabelEnsemble, of_one_member_or_of_copies_is_that_model) {
  for (const std::string level : {"{level=logits}", "{level=probabilities}"}) {
    expect_of_one_member_is_that_model("missing_label_ensemble" + level);
    expect_of_copies_is_that_model("missing_label_ensemble" + level);
    expect_stores_all_members("missing_label_ensemble" + level);
  }
}

}  // namespace
}  // namespace fusegrid::missing_label_ensemble_test
