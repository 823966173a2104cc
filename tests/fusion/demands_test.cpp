#include "fusion/demands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/network.h"
#include "support/numbers_kind.h"
#include "support/test_zoo.h"

namespace fusegrid::demands_test {
namespace {

using testing::HasSubstr;

const NumbersKind kNumbers;

// A perceptron: layers, but no blocks.
std::shared_ptr<const Architecture> perceptron() {
  return make_architecture(
      {{"model_type", "mlp"}, {"image_size", 2}, {"hidden_sizes", nlohmann::json::array({2})}});
}
std::shared_ptr<const Architecture> tower() {
  return random_zoo(1).network->architecture;
}

// What is said of a call, "ties{density=0.2}", that merges a model of task "a" and answers task "b".
std::string refusal(const std::string& call, const std::shared_ptr<const Architecture>& architecture,
                    const TaskKind& of_a, const TaskKind& of_b) {
  const auto [name, parameters] = parse_call(call);
  try {
    check_demands(method_registry().at(name), parameters, *architecture, {{"a", &of_a}, {"b", &of_b}});
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(Demands, of_the_models_are_their_architectures) {
  const TaskKind& classes = task_kind("classify");
  for (const std::string blocks : {"wemoe", "regmean_plusplus"}) {
    EXPECT_EQ(refusal(blocks, tower(), classes, classes), "");
    EXPECT_THAT(refusal(blocks, perceptron(), classes, classes),
                HasSubstr("method '" + blocks + "' needs a stack of blocks with MLPs, which mlp has not"));
  }
  for (const std::string layers : {"smile", "regmean", "mats", "ada_svd", "twin_merging"}) {
    EXPECT_EQ(refusal(layers, perceptron(), classes, classes), "") << layers;
  }
}

TEST(Demands, of_the_tasks_are_their_kinds) {
  const TaskKind& classes = task_kind("classify");
  for (const std::string method :
       {"fisher", "layer_wise_adamerging", "task_wise_adamerging", "wemoe", "mats"}) {
    EXPECT_EQ(refusal(method, tower(), classes, classes), "") << method;
    EXPECT_THAT(refusal(method, tower(), classes, kNumbers),
                HasSubstr("'" + method + "' needs outputs that are distributions, which task 'b' has not"));
  }
  for (const std::string method : {"greedy_soup", "best_expert"}) {
    EXPECT_THAT(refusal(method, tower(), kNumbers, classes),
                HasSubstr("needs tasks of classes, which task 'a' has not"));
  }
  for (const std::string method : {"ties", "empirical_fisher", "tatr", "localize_and_stitch_trained"}) {
    EXPECT_EQ(refusal(method, perceptron(), kNumbers, kNumbers), "") << method;
  }
}

TEST(Demands, may_come_from_parameters) {
  for (const std::string method : {"simple_ensemble", "weighted_ensemble"}) {
    EXPECT_EQ(refusal(method + "{level=logits}", tower(), kNumbers, kNumbers), "");
    EXPECT_THAT(refusal(method + "{level=probabilities}", tower(), kNumbers, kNumbers),
                HasSubstr("needs outputs that are distributions"));
  }
  EXPECT_EQ(refusal("mats{blocks=gram}", tower(), kNumbers, kNumbers), "");
}

std::shared_ptr<const Architecture> decoder() {
  return token_zoo(1).network->architecture;
}

TEST(Demands, of_methods_that_align_units_are_groups_of_axes) {
  const TaskKind& classes = task_kind("classify");
  for (const std::string method : {"weight_matching", "activation_matching", "zipit", "c2m3", "pleas"}) {
    EXPECT_EQ(refusal(method, perceptron(), classes, classes), "");
    EXPECT_THAT(refusal(method, decoder(), classes, classes),
                HasSubstr("'" + method + "' needs axes that can be permuted alike, which t5 has not"));
  }
  for (const std::string wide : {"zipit{apart=1}", "pleas{apart=0.5}"}) {
    EXPECT_EQ(refusal(wide, perceptron(), classes, classes), "");
  }
}

// Members of an ensemble have no head in common that could read the mean of their features.
TEST(Demands, of_heads_are_not_met_by_models_that_make_tokens) {
  const TaskKind& texts = task_kind("generate");
  for (const std::string method : {"simple_ensemble", "weighted_ensemble", "max_model"}) {
    EXPECT_EQ(refusal(method, tower(), kNumbers, kNumbers), "");
    EXPECT_THAT(refusal(method, decoder(), texts, texts),
                HasSubstr("method '" + method + "' needs heads outside the models, which task 'a' has not"));
    EXPECT_EQ(refusal(method + "{level=logits}", decoder(), texts, texts), "");
  }
  EXPECT_EQ(refusal("simple_ensemble{level=probabilities}", decoder(), texts, texts), "");
}

TEST(Demands, of_models_that_make_tokens) {
  const TaskKind& texts = task_kind("generate");
  for (const std::string method : {"ties", "regmean", "smile", "fisher", "fisher{variant=sampled}",
                                   "layer_wise_adamerging", "individual"}) {
    EXPECT_EQ(refusal(method, decoder(), texts, texts), "") << method;
  }
  EXPECT_THAT(refusal("fisher{variant=exact}", decoder(), texts, texts),
              HasSubstr("needs tasks of classes, which task 'a' has not"));
  for (const std::string method : {"wemoe", "regmean_plusplus"}) {
    EXPECT_THAT(refusal(method, decoder(), texts, texts), HasSubstr("which t5 has not"));
  }
  EXPECT_THAT(refusal("twin_merging", decoder(), texts, texts),
              HasSubstr("needs heads outside the models, which task 'a' has not"));
}

TEST(Demands, who_adapts_on_all_tasks_together_is_asked_for_one_kind_of_pass) {
  const TaskKind &classes = task_kind("classify"), &tokens = task_kind("generate");
  EXPECT_EQ(refusal("layer_wise_adamerging", tower(), classes, classes), "");
  EXPECT_EQ(refusal("layer_wise_adamerging", tower(), tokens, tokens), "");
  EXPECT_THAT(refusal("layer_wise_adamerging", tower(), tokens, classes),
              HasSubstr("the answers of task 'a' are tokens and those of task 'b' are not"));
  EXPECT_EQ(refusal("regmean", tower(), tokens, classes), "");
}

TEST(Demands, inputs_that_say_the_answer_are_shown_to_none_who_may_not_see_labels) {
  const TaskKind& next_tokens = task_kind("language_model");
  const TaskKind& texts = task_kind("generate");
  for (const std::string method : {"fisher", "regmean", "layer_wise_adamerging",
                                   "layer_wise_adamerging{inputs=validation}", "mats", "ada_svd"}) {
    EXPECT_THAT(refusal(method, decoder(), texts, next_tokens),
                HasSubstr("method '" + method.substr(0, method.find('{')) +
                          "' looks at inputs without labels, but the inputs of task 'b' are its labels"));
  }
  for (const std::string method :
       {"ties", "individual", "simple_ensemble{level=logits}", "smile", "empirical_fisher", "tatr"}) {
    EXPECT_EQ(refusal(method, decoder(), next_tokens, next_tokens), "") << method;
  }
}

}  // namespace
}  // namespace fusegrid::demands_test
