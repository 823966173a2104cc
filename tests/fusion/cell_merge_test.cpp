#include "fusion/cell_merge.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using Names = std::vector<std::string>;

MethodCard card(const std::string& name, std::set<Need> needs, int64_t min_experts = 1) {
  return {.name = name,
          .title = "",
          .paper = "",
          .formula = "",
          .needs = std::move(needs),
          .min_experts = min_experts};
}

// Registers a method without an implementation.
void register_method(const MethodCard& card) {
  if (!method_registry().contains(card.name)) {
    const auto fuse = [](const FusionInput&, const NoOptions&) -> FusedModel { return {}; };
    const RegisterMethod<NoOptions> registered{card, fuse};
  }
}

TEST(ModelsRead, are_those_that_the_card_declares) {
  const Names experts{"a", "b"};
  EXPECT_EQ(models_read(card("", {Need::kPretrained}), experts), (Names{"base", "expert/a", "expert/b"}));
  EXPECT_EQ(models_read(card("", {Need::kTrainInputs}), {"b"}), (Names{"expert/b"}));
  EXPECT_EQ(models_read(card("", {Need::kMultitask}, 0), experts), (Names{"multitask"}));
  EXPECT_EQ(models_read(card("", {Need::kPretrained}, 0), experts), (Names{"base"}));
}

struct ChoiceOfInputs {
  std::string inputs = "none";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("inputs", inputs, Choices{"none", "test", "validation"}, "");
  }
  std::set<Need> needs(std::set<Need> of_card) const {
    if (inputs != "none") {
      of_card.insert(inputs == "test" ? Need::kTestInputs : Need::kValidationInputs);
    }
    return of_card;
  }
};

TEST(MergeName, is_that_of_the_shift_where_the_parameters_make_the_merge_see_inputs) {
  const auto fuse = [](const FusionInput&, const ChoiceOfInputs&) -> FusedModel { return {}; };
  const RegisterMethod<ChoiceOfInputs> registered{card("choosing", {Need::kPretrained}), fuse};
  const auto name = [](const std::string& cell) { return merge_name(Cell::parse(cell)); };
  EXPECT_EQ(name("z/experts=2/choosing/seed=0/a@noise-1"), "z/experts=2/choosing/seed=0");
  for (const std::string inputs : {"test", "validation"}) {
    const std::string merge = "z/experts=2/choosing{inputs=" + inputs + "}/seed=0";
    EXPECT_EQ(name(merge + "/a@noise-1"), merge + "@noise-1");
  }
  const Method& method = method_registry().at("choosing");
  EXPECT_EQ(method.card_of({{"inputs", "validation"}}).needs,
            (std::set<Need>{Need::kPretrained, Need::kValidationInputs}));
  EXPECT_EQ(method.card_of({}).needs, method.card.needs);
}

TEST(MergeName, is_shared_by_tasks_and_by_shifts_unless_the_merge_sees_test_inputs) {
  register_method(card("blind", {Need::kPretrained, Need::kValidationExamples}));
  register_method(card("seeing", {Need::kTestInputs}));
  const auto name = [](const std::string& cell) { return merge_name(Cell::parse(cell)); };
  EXPECT_EQ(name("z/experts=2/blind/seed=0/a@noise-1"), "z/experts=2/blind/seed=0");
  EXPECT_EQ(name("z/experts=2/blind/seed=0/b@clean"), "z/experts=2/blind/seed=0");
  EXPECT_EQ(name("z/experts=2/seeing/seed=0/a@noise-1"), "z/experts=2/seeing/seed=0@noise-1");
  EXPECT_EQ(name("z/experts=2/seeing/seed=0/b@noise-1"), "z/experts=2/seeing/seed=0@noise-1");
  EXPECT_EQ(name("z/experts=2/seeing/seed=0/a@clean"), "z/experts=2/seeing/seed=0@clean");
}

}  // namespace
}  // namespace fusegrid
