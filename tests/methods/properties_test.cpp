// What holds for every registered method, whoever wrote it.
#include <algorithm>
#include <filesystem>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/demands.h"
#include "fusion/fusion_input.h"
#include "models/feeder.h"
#include "support/golden.h"
#include "support/quick_options.h"
#include "support/source_folder.h"
#include "support/test_zoo.h"

namespace fusegrid::properties_test {
namespace {

bool has_parameter(const std::string& method, const std::string& name) {
  const auto params = method_registry().at(method).params();
  return std::any_of(params.begin(), params.end(), [&](const ParamInfo& info) { return info.name == name; });
}

// A call in which the experts play different parts, where the method's parameters can make it so: no place in the
// middle, no equal weights.
std::string telling_apart(const std::string& method) {
  if (has_parameter(method, "t") && method_registry().at(method).card.max_experts == 2) {
    return quick(method, "t=0.2");
  }
  if (method == "plane" || method == "swa") {
    return method + (method == "plane" ? "{u=0.2,v=0.5}" : "{last=2}");
  }
  if (method == "sinkhorn_rebasin") {  // units begin at their own places, which a few steps do not change
    return method + "{objective=distance,steps=100}";
  }
  if (method == "search") {
    return "search{method=weighted_average,scale=,weights=0:1,budget=6}";
  }
  return method.starts_with("weighted_") ? method + "{weights=1:2:3}" : quick(method);
}

class EveryMethod : public testing::TestWithParam<std::string> {
 protected:
  const MethodCard& card() const { return method_registry().at(GetParam()).card; }
  size_t experts() const {
    return static_cast<size_t>(std::clamp<int64_t>(3, card().min_experts, card().max_experts));
  }
  // What the method asks of models: units that can be permuted, or anything.
  bool of_units() const { return card().demands.contains(Demand::kAxisGroups); }
  bool of_affine_heads() const { return card().demands.contains(Demand::kAffineHeads); }
  TestZoo zoo(double spread) const {
    return of_units()          ? unit_zoo(experts(), spread)
           : of_affine_heads() ? affine_zoo(experts(), spread)
                               : random_zoo(experts(), spread);
  }
  // Experts of one base; of methods that align units, independent ones, which there is something to align of.
  TestZoo zoo() const { return zoo(of_units() ? 3 : 0.05); }
  Merged fuse(const TestZoo& zoo) const { return zoo.fuse(quick(GetParam())); }
};

TEST_P(EveryMethod, is_registered_under_its_cards_name) {
  EXPECT_EQ(card().name, GetParam());
  EXPECT_FALSE(card().title.empty());
  EXPECT_FALSE(card().paper.empty());
  EXPECT_LE(card().min_experts, card().max_experts);
}

TEST_P(EveryMethod, keeps_names_shapes_and_dtypes) {
  const TestZoo z = zoo();
  const Merged merged = fuse(z);
  ASSERT_FALSE(merged.weights.empty());
  EXPECT_GT(merged.stored_parameters, 0);
  if (card().yields != Yields::kOneModel) {
    return;
  }
  ASSERT_EQ(merged.weights.size(), z.base.size());
  for (const auto& [name, tensor] : z.base) {
    const at::Tensor& own = merged.weights.at(name);
    EXPECT_EQ(own.sizes().vec(), tensor.sizes().vec()) << name;
    EXPECT_EQ(own.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_FALSE(own.requires_grad()) << name;
    if (!tensor.is_floating_point()) {
      EXPECT_TRUE(own.equal(tensor)) << name;
    }
  }
  EXPECT_DOUBLE_EQ(merged.stored_parameters, static_cast<double>(num_parameters(z.base)));
}

TEST_P(EveryMethod, leaves_its_inputs_alone) {
  const TestZoo z = zoo();
  std::vector<std::string> before{digest(z.base), digest(z.multitask)};
  std::vector<std::string> after;
  for (size_t i = 0; i < z.experts.size(); ++i) {
    before.push_back(z.expert_key(i));
  }
  const Merged merged = fuse(z);
  z.logits(merged, z.tasks[0]);
  after = {digest(z.base), digest(z.multitask)};
  for (size_t i = 0; i < z.experts.size(); ++i) {
    after.push_back(z.expert_key(i));
  }
  EXPECT_EQ(after, before);
}

TEST_P(EveryMethod, gives_the_same_bits_twice_with_and_without_a_warm_cache) {
  TestZoo z = zoo();
  const std::string once = digest(fuse(z).weights);
  EXPECT_EQ(digest(fuse(z).weights), once);
  z.cache = std::make_shared<StatisticsCache>(1 << 28, "", at::kCPU);
  EXPECT_EQ(digest(fuse(z).weights), once);
}

TEST_P(EveryMethod, depends_on_the_seed_only_if_the_card_says_so) {
  TestZoo z = zoo(0.3);
  const std::string once = digest(fuse(z).weights);
  z.seed = 77;
  EXPECT_EQ(digest(fuse(z).weights) != once, card().random);
}

TEST_P(EveryMethod, does_not_mind_the_order_of_the_experts_where_the_card_says_so) {
  const TestZoo z = zoo();
  TestZoo reversed = z;
  std::reverse(reversed.tasks.begin(), reversed.tasks.end());
  std::reverse(reversed.experts.begin(), reversed.experts.end());
  const std::string used = telling_apart(GetParam());
  const Merged first = z.fuse(used);
  const Merged second = reversed.fuse(used);
  double largest = 0;
  for (const std::string& task : z.tasks) {
    const at::Tensor apart = z.logits(first, task) - z.logits(second, task);
    largest = std::max(largest, apart.abs().max().item<double>());
  }
  if (card().order_invariant) {
    EXPECT_LE(largest, 1e-4);
  } else {
    EXPECT_GT(largest, 1e-4) << "the card could promise more";
  }
}

TEST_P(EveryMethod, of_experts_equal_to_the_base_answers_as_the_base) {
  if (GetParam() == "magnitude_pruning" || GetParam() == "random_pruning") {
    GTEST_SKIP() << "it prunes weights, the base's as well";
  }
  if (std::set<std::string>{"auto_neb", "bezier_curve", "espro", "polygonal_chain"}.contains(GetParam())) {
    GTEST_SKIP() << "it trains weights further";
  }
  if (of_affine_heads()) {
    GTEST_SKIP() << "it merges heads, which a base has not";
  }
  TestZoo z = zoo();
  z.multitask = z.base;
  for (Weights& expert : z.experts) {
    expert = z.base;
  }
  const Merged merged = fuse(z);
  for (const std::string& task : z.tasks) {
    // log-softmax: the logits of an ensemble of probabilities are known up to a constant
    expect_close(at::log_softmax(z.logits(merged, task), 1), at::log_softmax(z.logits_of(z.base, task), 1),
                 1e-5);
  }
}

TEST_P(EveryMethod, held_in_bfloat16_answers_as_where_each_pass_rounds) {
  const TestZoo z = zoo();
  z.network->precision = Precision::kBf16;
  const Merged merged = fuse(z);
  FusedModel model = *merged.model;
  model.predictor = model.predictor->held_in(z.network->precision);
  ASSERT_NE(model.predictor, nullptr);
  const Weights weights = model.predictor->weights();
  Merged held;
  held.model = std::make_shared<const FusedModel>(std::move(model));
  EXPECT_TRUE(std::any_of(weights.begin(), weights.end(),
                          [](const auto& entry) { return entry.second.scalar_type() == at::kBFloat16; }));
  EXPECT_TRUE(z.logits(held, z.tasks[0]).equal(z.logits(merged, z.tasks[0])));
}

TEST_P(EveryMethod, gives_finite_weights_and_logits) {
  for (const double spread : {0.0, 1e-30, 1.0}) {
    const TestZoo z = zoo(spread);
    const Merged merged = fuse(z);
    for (const auto& [name, tensor] : merged.weights) {
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name << " of spread " << spread;
    }
    EXPECT_TRUE(z.logits(merged, z.tasks[0]).isfinite().all().item<bool>()) << spread;
  }
}

// theta_0 + scale * direction: nothing moves at scale 0, and a sweep of scales computes everything else once.
TEST_P(EveryMethod, with_a_scale_starts_at_the_base_and_shares_its_direction) {
  const auto params = method_registry().at(GetParam()).params();
  const bool moves_along = std::any_of(params.begin(), params.end(), [](const ParamInfo& info) {
    return info.name == "scale" && info.doc.starts_with("multiplier of");
  });
  if (!moves_along || card().yields != Yields::kOneModel || card().grain == Grain::kWholeModel) {
    return;
  }
  const TestZoo z = zoo();
  EXPECT_EQ(digest(z.fuse(quick(GetParam(), "scale=0")).weights), digest(z.base));
  const Merged once = z.fuse(quick(GetParam(), "scale=0.25"));
  const Merged twice = z.fuse(quick(GetParam(), "scale=0.5"));
  for (const auto& [name, base] : z.base) {
    if (base.is_floating_point()) {
      expect_close(twice.weights.at(name) - base, (once.weights.at(name) - base) * 2, 1e-6);
    }
  }
  EXPECT_FALSE(z.cache->computed().empty());
  for (const auto& [key, count] : z.cache->computed()) {
    EXPECT_EQ(count, 1) << key;
  }
}

// The data that a method touches is the data that its card declares. (Without its declaration FusionInput
// would have thrown: see the next test.)
TEST_P(EveryMethod, touches_the_data_that_its_card_declares) {
  const TestZoo z = zoo();
  fuse(z);
  std::set<std::string> declared;
  EXPECT_FALSE(card().formula.empty());
  const bool reference = card().family == Family::kReference;  // its needs are those of the zoo's training
  if (card().needs.contains(Need::kTrainInputs) ||
      (card().needs.contains(Need::kTrainLabels) && !reference)) {
    declared.insert("train");
  }
  if (card().needs.contains(Need::kTestInputs)) {
    declared.insert("test");
  }
  if (card().needs.contains(Need::kValidationExamples)) {
    declared.insert("val");
  }
  EXPECT_EQ(z.data.touched(), declared);
}

// What adapts on test inputs can do so on those of validation, and then sees no others besides those of training that
// it asks for.
TEST_P(EveryMethod, adapts_on_validation_inputs_where_it_is_told_to) {
  ASSERT_EQ(has_parameter(GetParam(), "inputs"), card().needs.contains(Need::kTestInputs));
  if (!has_parameter(GetParam(), "inputs")) {
    return;
  }
  const TestZoo z = zoo(0.3);
  const std::string on_validation = digest(z.fuse(quick(GetParam(), "inputs=validation")).weights);
  std::set<std::string> expected{"val"};
  if (card().needs.contains(Need::kTrainInputs)) {
    expected.insert("train");
  }
  EXPECT_EQ(z.data.touched(), expected);
  EXPECT_NE(digest(fuse(z).weights), on_validation);
}

// Every declared need that can be denied is needed: without it the method fails.
TEST_P(EveryMethod, fails_without_any_of_its_needs) {
  const Method& method = method_registry().at(GetParam());
  for (const Need need : card().needs) {
    const bool deniable = need == Need::kPretrained || need == Need::kMultitask ||
                          need == Need::kTrainInputs || need == Need::kTestInputs;
    if (!deniable) {
      continue;
    }
    MethodCard poorer = card();
    poorer.needs.erase(need);
    const TestZoo z = zoo();
    z.with_input(poorer, [&](const FusionInput& in) {
      EXPECT_THROW(method.fuse(in, parse_call(quick(GetParam())).second), AccessError) << to_string(need);
    });
  }
}

TEST_P(EveryMethod, asks_for_the_task_only_if_the_card_says_so) {
  const TestZoo z = zoo();
  const Merged merged = fuse(z);
  const Inputs ready = z.network->ready(z.data.examples(z.tasks[0], "test", 2).inputs);
  const auto anonymous = [&] {
    merged.model->predictor->output(*z.network, ready, {z.tasks[0], std::nullopt});
  };
  if (card().needs_task_identity) {
    EXPECT_THROW(anonymous(), AccessError);
  } else {
    EXPECT_NO_THROW(anonymous());
  }
}

// A call of the method on models of tokens, which have no heads to share; "" where its demands are not met.
std::string call_on_tokens(const std::string& name, const TestZoo& zoo) {
  const std::string call = has_parameter(name, "level") ? quick(name, "level=logits") : quick(name);
  std::map<std::string, const TaskKind*> kinds;
  for (const std::string& task : zoo.tasks) {
    kinds[task] = &zoo.data.kind(task);
  }
  try {
    check_demands(method_registry().at(name), parse_call(call).second, *zoo.network->architecture, kinds);
  } catch (const ConfigError&) {
    return "";
  }
  return call;
}

// A predictor that a memory reaches computes the new token alone, any other all of them again.
TEST_P(EveryMethod, answers_in_tokens_with_a_memory_as_without_where_its_demands_are_met) {
  const TestZoo z = token_zoo(experts());
  const std::string call = call_on_tokens(GetParam(), z);
  if (call.empty()) {
    GTEST_SKIP() << "its demands are not met";
  }
  const Merged merged = z.fuse(call);
  const std::string& task = z.tasks[0];
  const Inputs inputs = z.network->ready(z.data.examples(task, "test", -1).inputs);
  const auto answered = [&](bool remembers) {
    return z.data.kind(task).completed(inputs, [&](const Inputs& ready, Memory* memory) {
      const at::Tensor logits = merged.model->predictor->output(
          *z.network, ready, {.head = task, .task = task, .memory = remembers ? memory : nullptr});
      EXPECT_TRUE(logits.isfinite().all().item<bool>());
      return logits;
    });
  };
  const Inputs remembered = answered(true);
  EXPECT_GT(remembered.answer.size(1), 0);
  EXPECT_TRUE(remembered.answer.equal(answered(false).answer));
}

// With one pass for prompts and one for choices, and with both in one.
TEST_P(EveryMethod, chooses_with_a_memory_as_without_where_its_demands_are_met) {
  const TestZoo z = choice_zoo(experts());
  const std::string call = call_on_tokens(GetParam(), z);
  if (call.empty()) {
    GTEST_SKIP() << "its demands are not met";
  }
  const Merged merged = z.fuse(call);
  const std::string& task = z.tasks[0];
  const TaskKind& kind = z.data.kind(task);
  const Asker output = [&](const Inputs& ready, Memory* memory) {
    return merged.model->predictor->output(*z.network, ready, {.head = task, .task = task, .memory = memory});
  };
  const Examples examples = z.data.examples(task, "test", -1);
  const Inputs completed = kind.completed(z.network->ready(examples.inputs), output);
  const at::Tensor log_p = kind.log_probabilities(output(completed, nullptr), completed);
  const Answers answers = kind.answer(examples, {.feed = feed_of(*z.network), .output = output});
  EXPECT_TRUE(answers.finite);
  EXPECT_GT(log_p.exp().std().item<double>(), 0.01) << "it prefers some choices";
  const std::vector<float>& losses = answers.outcomes.at(2).rows;
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const double expected = -log_p[row][examples.labels[row].item<int64_t>()].item<double>();
    EXPECT_NEAR(losses[i], expected, 1e-4 * std::max(1.0, expected)) << i;
  }
}

TEST_P(EveryMethod, options_round_trip_through_their_canonical_text) {
  const Method& method = method_registry().at(GetParam());
  const auto text_of = [](const std::string& options) { return parse_call("m{" + options + "}").second; };
  for (const ParamText& given : {ParamText{}, parse_call(quick(GetParam())).second}) {
    const std::string canonical = method.canonical(given);
    const ParamText written = text_of(canonical);
    EXPECT_EQ(written.size(), method.params().size());
    EXPECT_EQ(method.canonical(written), canonical);
  }
  for (const ParamInfo& parameter : method.params()) {
    EXPECT_FALSE(parameter.doc.empty()) << parameter.name;
    EXPECT_FALSE(parameter.accepts.empty()) << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethod, testing::ValuesIn(method_registry().names()),
                         [](const auto& method) { return method.param; });

TEST(Registry, names_are_the_file_stems) {
  std::set<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/methods")) {
    if (entry.path().extension() == ".cpp") {
      stems.insert(entry.path().stem().string());
    }
  }
  const auto names = method_registry().names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), stems);
}

}  // namespace
}  // namespace fusegrid::properties_test
