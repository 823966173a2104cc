#include "tasks/kind.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"
#include "support/source_folder.h"
#include "support/state_task.h"
#include "support/token_task.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;

TEST(TaskKinds, are_known_by_name) {
  EXPECT_EQ(task_kind("classify").metrics(),
            (std::vector<std::string>{"accuracy", "loss", "macro_f1", "mcc"}));
  EXPECT_TRUE(task_kind("classify").has_distribution());
  EXPECT_TRUE(task_kind("classify").has_classes());
  EXPECT_FALSE(task_kind("classify").doc().empty());
  EXPECT_THAT([] { task_kind("clasify"); },
              testing::ThrowsMessage<ConfigError>(testing::HasSubstr("did you mean 'classify'?")));
}

TEST(TaskKinds, are_the_same_for_all_tasks_where_they_read_nothing_of_them) {
  EXPECT_EQ(kind_of(token_task("classify"), nullptr).get(), &task_kind("classify"));
  const TokenTable table = letter_table();
  EXPECT_NE(kind_of(token_task("generate"), &table).get(), &task_kind("generate"));
}

TEST(TaskKinds, are_the_file_stems) {
  std::set<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/tasks/kinds")) {
    stems.insert(entry.path().stem().string());
  }
  const auto names = kind_registry().names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), stems);
}

TEST(TaskKinds, have_the_metrics_that_the_document_says) {
  std::string table = "| kind of task | metrics |\n|---|---|\n";
  for (const std::string& name : kind_registry().names()) {
    table += "| `" + name + "` | `" + join(task_kind(name).metrics(), "`, `") + "` |\n";
  }
  std::ifstream stream(source_folder() / "docs/metrics.md", std::ios::binary);
  const std::string document{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_NE(document.find("\n\n" + table + "\n"), std::string::npos) << "docs/metrics.md must hold\n"
                                                                     << table;
}

TEST(MeanEntropy, is_the_mean_over_rows) {
  const at::Tensor rows = at::tensor({0.5, 0.5, 0.25, 0.75}, at::kDouble).view({2, 2});
  const double certain = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75));
  EXPECT_NEAR(mean_entropy(rows.log()).item<double>(), (std::log(2) + certain) / 2, 1e-15);
}

// Images whose first pixel is the number of the example.
Examples numbered_images(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<int64_t>(i);
  }
  const at::Tensor all = at::tensor(numbers, at::kLong);
  return {{all.to(at::kByte).view({-1, 1, 1, 1}), {}, {}}, all};
}

bool answers_maps(const std::string& kind) {
  return task_kind(kind).has_maps();
}

// Of five images of 2 x 3 pixels, for a kind of maps.
at::Tensor maps_of(const std::string& kind) {
  if (kind == "segment") {
    return (at::arange(5 * 6, at::kInt) % 3).view({5, 2, 3});
  }
  const at::Tensor numbers = normal(2, 0, 0, 5 * 18).view({5, 3, 2, 3});
  return kind == "depth" ? 1 + numbers.select(1, 0).abs() : numbers / numbers.norm(2, 1, true);
}

TaskInfo task_of(const std::string& kind) {
  return task_kind(kind).has_states() ? state_task() : token_task(kind);
}

// Five examples with all that any kind may ask for: of classes a task with three.
class EveryKind : public testing::TestWithParam<std::string> {
 protected:
  EveryKind() {
    if (answers_maps(GetParam())) {
      examples_ = numbered_images(5);
      examples_.maps = maps_of(GetParam());
    }
    if (task_kind(GetParam()).has_states()) {
      examples_ = numbered_states(5);
    }
    examples_.labels = at::tensor({0, 1, 2, 1, 0}, at::kLong);
    examples_.values = at::tensor({0.5, -1.0, 2.0, 0.0, 0.25}, at::kFloat);
    const Inputs wanted = rows_of({ended("a"), ended("be"), ended("c"), ended("dog"), ended("e")});
    examples_.wanted = wanted.tokens;
    examples_.wanted_lengths = wanted.lengths;
    if (GetParam() == "multiple_choice") {
      const std::vector<std::vector<int64_t>> four{letters("a"), letters("be"), letters("cat"),
                                                   letters("dog")};
      examples_.inputs =
          with_choices(examples_.inputs, {four, four, four, {letters("x"), letters("yz")}, four});
    }
  }
  // Of the model: row i of outputs_ for example i, whose first token is the letter of its number; of tokens as many
  // places as the inputs ask for.
  at::Tensor output(const Inputs& ready) const {
    if (ready.state.defined()) {
      return outputs_.index_select(0, ready.condition.select(1, 2));
    }
    if (ready.images.defined()) {
      return outputs_.index_select(0, ready.images.view({-1}).to(at::kLong));
    }
    const at::Tensor rows = outputs_.index_select(0, ready.tokens.select(1, 0) - letters("a")[0]);
    return kind_->has_tokens()
               ? rows.narrow(1, 0, ready.answer.defined() ? ready.answer.size(1) + 1 : ready.tokens.size(1))
               : rows;
  }
  Asker asker() const {
    return [this](const Inputs& ready, Memory*) { return output(ready); };
  }
  Answers answers(
      int64_t batch = 256, const std::function<void()>& on_batch = [] {}) const {
    return kind_->answer(examples_,
                         {.feed = for_each_batch, .output = asker(), .batch = batch, .on_batch = on_batch});
  }

  const TokenTable table_ = letter_table();
  const TaskInfo task_ = task_of(GetParam());
  const std::shared_ptr<const TaskKind> kind_ = kind_of(task_, &table_);
  Examples examples_{
      rows_of({letters("ax"), letters("bxyz"), letters("cxy"), letters("dx"), letters("exyzabc")})};
  at::Tensor outputs_ =
      kind_->has_tokens()        ? normal(1, 0, 0, 5 * 8 * table_.size()).view({5, 8, -1})
      : kind_->has_states()      ? normal(1, 0, 0, 5 * 16).view({5, 4, 4})
      : GetParam() == "retrieve" ? normal(1, 0, 0, 5 * 8).view({5, 2, 4})  // of a picture and a text
      : answers_maps(GetParam()) ? normal(1, 0, 0, 5 * 6 * kind_->outputs(3)).view({5, 2, 3, -1})
                                 : normal(1, 0, 0, 5 * kind_->outputs(3)).view({5, -1});
};

TEST_P(EveryKind, says_what_it_is) {
  EXPECT_FALSE(kind_->doc().empty());
  EXPECT_EQ(kind_->has_tokens() || kind_->has_states(), kind_->outputs(3) == 0)
      << "models make tokens without a head";
  ASSERT_FALSE(kind_->metrics().empty());
  for (const std::string& metric : kind_->metrics()) {
    EXPECT_EQ(metric_registry().at(metric).name, metric);
  }
}

TEST_P(EveryKind, has_each_of_its_metrics_or_says_why_not) {
  const Answers seen = answers();
  EXPECT_EQ(seen.examples, 5);
  EXPECT_TRUE(seen.finite);
  for (const std::string& metric : kind_->metrics()) {
    EXPECT_EQ(seen.metrics.count(metric) + seen.undefined.count(metric), 1U) << metric;
  }
  for (const std::string& number : kind_->numbers()) {
    EXPECT_TRUE(seen.metrics.contains(number)) << number;
    EXPECT_FALSE(metric_registry().contains(number)) << number;
  }
  EXPECT_EQ(seen.metrics.size() + seen.undefined.size(), kind_->metrics().size() + kind_->numbers().size());
  EXPECT_EQ(seen.predictions.size(), kind_->has_classes() ? 5U : 0U);
}

// Reports resample the rows.
TEST_P(EveryKind, its_rows_give_its_metrics) {
  const Answers seen = answers();
  std::set<std::string> explained;
  for (const Outcomes& outcomes : seen.outcomes) {
    const MetricRule& rule = metric_registry().at(outcomes.metric);
    ASSERT_TRUE(rule.has_width(outcomes.width));
    ASSERT_EQ(outcomes.rows.size(), static_cast<size_t>(5 * outcomes.width));
    EXPECT_EQ(value_of(rule, number_rows(outcomes.width, outcomes.rows)), seen.metrics.at(rule.name))
        << rule.name;
    explained.insert(rule.name);
  }
  const std::string primary = kind_->metrics().front();
  EXPECT_TRUE(explained.contains(primary) || metric_registry().at(primary).row == MetricRow::kClassCounts);
}

TEST_P(EveryKind, answers_alike_in_batches_of_any_size) {
  const Answers whole = answers();
  for (const int64_t batch : {1, 2, 3, 5}) {
    int64_t batches = 0;
    const Answers parts = answers(batch, [&] { ++batches; });
    EXPECT_EQ(batches, (5 + batch - 1) / batch);
    EXPECT_EQ(parts.metrics, whole.metrics) << batch;
    EXPECT_EQ(parts.predictions, whole.predictions) << batch;
    for (size_t i = 0; i < whole.outcomes.size(); ++i) {
      EXPECT_EQ(parts.outcomes.at(i).rows, whole.outcomes[i].rows) << batch;
    }
  }
}

TEST_P(EveryKind, says_where_an_output_is_not_finite) {
  for (const double number :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    outputs_[3][0] = number;
    EXPECT_FALSE(answers().finite) << number;
  }
}

TEST_P(EveryKind, has_a_loss_of_each_example_and_a_distribution_where_it_says_so) {
  const at::Tensor losses = kind_->losses(output(kind_->taught(examples_)), examples_);
  EXPECT_EQ(losses.sizes().vec(), std::vector<int64_t>{5});
  EXPECT_TRUE(losses.isfinite().all().item<bool>());
  if (kind_->has_distribution()) {
    const Inputs completed = kind_->completed(examples_.inputs, asker());
    const at::Tensor rows = kind_->log_probabilities(output(completed), completed).exp().sum(1);
    EXPECT_GE(rows.size(0), 5);
    EXPECT_LE((rows - 1).abs().max().item<double>(), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryKind, testing::ValuesIn(kind_registry().names()),
                         [](const auto& kind) { return kind.param; });

// A model whose logits for example i are row i of `logits`.
Answers answers_of(const at::Tensor& logits, const at::Tensor& labels, int64_t batch = 256) {
  Examples examples = numbered_images(logits.size(0));
  examples.labels = labels;
  return task_kind("classify")
      .answer(examples, {.feed = for_each_batch,
                         .output =
                             [&](const Inputs& ready, Memory*) {
                               return logits.index_select(0, ready.images.view({-1}).to(at::kLong));
                             },
                         .batch = batch});
}

// Of two classes, whose loss is log(1 + exp(-margin)).
TEST(Classify, counts_right_answers_and_means_losses) {
  const Answers answers = answers_of(at::tensor({2.0, 1.0, 0.0, 3.0, 5.0, 1.0}, at::kDouble).view({3, 2}),
                                     at::tensor({0, 0, 0}, at::kLong));
  const auto loss = [](double margin) { return std::log1p(std::exp(-margin)); };
  EXPECT_EQ(answers.examples, 3);
  EXPECT_THAT(answers.predictions, ElementsAre(0, 1, 0));
  EXPECT_DOUBLE_EQ(answers.metrics.at("accuracy"), 2.0 / 3);
  EXPECT_NEAR(answers.metrics.at("loss"), (loss(1) + loss(-3) + loss(4)) / 3, 1e-15);
  EXPECT_EQ(answers.metrics.size() + answers.undefined.size(), task_kind("classify").metrics().size());
  EXPECT_EQ(answers.undefined.at("mcc"), "all labels are of one class");
  EXPECT_TRUE(answers.finite);
  ASSERT_EQ(answers.outcomes.size(), 1U);
  EXPECT_EQ(answers.outcomes[0].metric, "accuracy");
  EXPECT_EQ(answers.outcomes[0].width, 1);
  EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(1, 0, 1));
}

TEST(Classify, says_where_an_output_is_not_finite) {
  const at::Tensor logits =
      at::tensor({2.0, 1.0, 0.0, std::numeric_limits<double>::quiet_NaN()}, at::kDouble);
  EXPECT_FALSE(answers_of(logits.view({2, 2}), at::tensor({0, 0}, at::kLong)).finite);
}

TEST(Classify, answers_alike_in_batches_of_any_size) {
  const at::Tensor logits =
      at::tensor({0.1, 0.2, 0.3, -7.1, 0.2, 0.9, 1.3, 1.2, 4.5, 0.0}, at::kDouble).view({5, 2});
  const at::Tensor labels = at::tensor({0, 1, 0, 0, 1}, at::kLong);
  const Answers whole = answers_of(logits, labels);
  for (const int64_t batch : {1, 2, 3, 5}) {
    const Answers parts = answers_of(logits, labels, batch);
    EXPECT_EQ(parts.metrics, whole.metrics) << batch;
    EXPECT_EQ(parts.predictions, whole.predictions) << batch;
    EXPECT_EQ(parts.outcomes[0].rows, whole.outcomes[0].rows) << batch;
  }
}

// Rows of one width share a batch, so models see the examples in another order than the answers are in.
TEST(Classify, keeps_the_order_of_examples_that_are_rows_of_tokens_of_several_widths) {
  const std::vector<int64_t> lengths{20, 1, 9, 3, 17, 8};
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets{0};
  for (size_t i = 0; i < lengths.size(); ++i) {
    ids.insert(ids.end(), static_cast<size_t>(lengths[i]), static_cast<int64_t>(i));
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  const Examples examples{token_inputs(at::tensor(ids, at::kLong), at::tensor(offsets, at::kLong), 0),
                          at::tensor({0, 1, 2, 0, 4, 5}, at::kLong)};
  for (const int64_t batch : {1, 2, 100}) {
    std::vector<int64_t> widths;
    const Answers answers =
        task_kind("classify")
            .answer(examples, {.feed = for_each_batch,
                               .output =
                                   [&](const Inputs& ready, Memory*) {
                                     widths.push_back(ready.tokens.size(1));
                                     return at::one_hot(ready.tokens.select(1, 0), 6).to(at::kFloat);
                                   },
                               .batch = batch});
    EXPECT_THAT(answers.predictions, ElementsAre(0, 1, 2, 3, 4, 5)) << batch;
    EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(1, 1, 1, 0, 1, 1)) << batch;
    EXPECT_EQ(std::set<int64_t>(widths.begin(), widths.end()), (std::set<int64_t>{8, 16, 24})) << batch;
  }
}

TEST(Classify, tells_after_each_batch_that_it_goes_on) {
  int batches = 0;
  task_kind("classify")
      .answer(numbered_images(5), {.feed = for_each_batch,
                                   .output =
                                       [](const Inputs& ready, Memory*) {
                                         return at::zeros({ready.size(), 5});
                                       },
                                   .batch = 2,
                                   .on_batch = [&] { ++batches; }});
  EXPECT_EQ(batches, 3);
}

TEST(Classify, trains_with_the_cross_entropy_of_each_row) {
  const TaskKind& kind = task_kind("classify");
  const at::Tensor logits = at::tensor({2.0, 1.0, 0.0, 3.0}, at::kDouble).view({2, 2});
  const at::Tensor losses = kind.losses(logits, {.inputs = {}, .labels = at::tensor({0, 0}, at::kLong)});
  ASSERT_EQ(losses.sizes().vec(), std::vector<int64_t>{2});
  EXPECT_NEAR(losses[0].item<double>(), std::log1p(std::exp(-1)), 1e-15);
  EXPECT_NEAR(losses[1].item<double>(), std::log1p(std::exp(3)), 1e-15);
  const at::Tensor probabilities = kind.log_probabilities(logits, {}).exp();
  EXPECT_NEAR(probabilities[0][0].item<double>(), 1 / (1 + std::exp(-1)), 1e-15);
  EXPECT_NEAR(probabilities.sum().item<double>(), 2, 1e-15);
}

}  // namespace
}  // namespace fusegrid
