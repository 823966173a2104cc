#include "fusion/passes/direction.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include "support/line_zoo.h"

namespace fusegrid {
namespace {

struct Options {
  double density = 0.5;
  double scale = 0.3;
  std::string merge = "sum";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0, 1}, "a");
    v.param("scale", scale, Range{0, 1}, "b");
    v.param("merge", merge, Choices{"sum"}, "c");
  }
};

TEST(DirectionKey, has_all_parameters_but_the_scale_and_the_seed_of_a_random_method) {
  TestZoo zoo = random_zoo(2);
  zoo.seed = 4;
  zoo.with_needs({}, [](const FusionInput& in) {
    MethodCard card;
    card.name = "m";
    EXPECT_EQ(direction_key(card, in, Options{}), "m{density=0.5,merge=sum}");
    EXPECT_EQ(direction_key(card, in, Options{.density = 1, .scale = 7, .merge = "sum"}),
              "m{density=1,merge=sum}");
    card.random = true;
    EXPECT_EQ(direction_key(card, in, Options{}), "m{density=0.5,merge=sum}/" + seed_key(in));
  });
}

// Every method that is registered by its direction can be continued by another one: svc and lines ask for it.
TEST(RegisterDirection, gives_what_the_method_adds_to_the_base) {
  const TestZoo zoo = random_zoo(2);
  size_t methods = 0;
  for (const std::string& name : method_registry().names()) {
    const Method& method = method_registry().at(name);
    if (!method.direction) {
      continue;
    }
    ++methods;
    SCOPED_TRACE(name);
    Weights expected;
    zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
      const Field direction = method.direction(in, {});
      expected = move_along(in, direction, 0.25).predictor->weights();
    });
    EXPECT_EQ(digest(zoo.fuse(name + "{scale=0.25}").weights), digest(expected));
  }
  EXPECT_GE(methods, 20U);
}

TEST(SeedKey, names_the_seed_and_the_tasks) {
  TestZoo zoo = random_zoo(2);
  zoo.seed = 4;
  zoo.with_needs({}, [](const FusionInput& in) { EXPECT_EQ(seed_key(in), "seed=4,tasks=task0+task1"); });
}

// A field of whole tensors is made from whole tensors, once for all scales.
TEST(MoveAlong, reads_a_field_of_whole_tensors) {
  const TestZoo zoo = random_zoo(1);
  int evaluations = 0;
  zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    const Field largest = in.tensor_field("largest", [&](const Slice& slice) {
      ++evaluations;
      EXPECT_EQ(slice.base().sizes().vec(), slice.info->shape);
      const at::Tensor tau = slice.task_vector(0);
      return at::full_like(tau, tau.max().item<double>());
    });
    for (const double scale : {0.0, 1.0, 2.0}) {
      const Weights moved = move_along(in, largest, scale).predictor->weights();
      for (const auto& [name, base] : zoo.base) {
        if (base.is_floating_point()) {
          const double step = (zoo.experts[0].at(name) - base).max().item<double>();
          expect_close(moved.at(name), base + step * scale, 1e-6);
        }
      }
    }
  });
  EXPECT_EQ(evaluations, static_cast<int>(tensor_infos(zoo.base).size()) - 1);  // all but the integer tensor
}

TEST(ModelsOfTasks, are_named_by_their_experts) {
  const TestZoo zoo = line_zoo({{1}, {2}});
  zoo.with_needs({}, [&](const FusionInput& in) {
    const FusedModel models = models_of_tasks(in, zoo.experts, 3);
    EXPECT_DOUBLE_EQ(models.stored_parameters, 3);
    expect_line(models.predictor->weights().at("task1/w"), {3});
  });
}

}  // namespace
}  // namespace fusegrid
