// The text of a picture among all texts of the split, and the picture of a text among all pictures: the output is a row
// of each, whose product is a logit.
//
// An example is a pair. Texts of the same tokens are one text: each of its pictures is right. Right is who has a right
// one among the first K; a wrong one with the same logit stands in front, so that rows that are all the same find
// nothing.

#include <map>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::retrieve {
namespace {

constexpr int64_t kQueries = 1024;  // whose logits are held at once

class Retrieve final : public TaskKind {
 public:
  std::string doc() const override { return "the text of a picture among all, and the picture of a text"; }
  std::vector<std::string> metrics() const override {
    return {"recall_1", "recall_5", "text_recall_1", "image_recall_1"};
  }
  // One over the texts would be another one in every batch.
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  int64_t outputs(int64_t) const override { return 2; }

  // Contrastive, among the batch: the mean over both directions. Pairs with the same text are left out of each other's
  // logits.
  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;
};

// int64 [n] on the CPU: numbers of the texts, equal for equal ones.
at::Tensor numbers_of_texts(const Inputs& inputs) {
  const at::Tensor tokens = inputs.tokens.cpu().contiguous();
  const at::Tensor lengths = inputs.lengths.cpu().contiguous();
  std::map<std::vector<int64_t>, int64_t> known;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    const auto* row = tokens.const_data_ptr<int64_t>() + i * tokens.size(1);
    const std::vector<int64_t> text(row, row + lengths.const_data_ptr<int64_t>()[i]);
    numbers.push_back(known.emplace(text, static_cast<int64_t>(known.size())).first->second);
  }
  return at::tensor(numbers, at::kLong);
}

void check_pairs(const at::Tensor& output) {
  FUSEGRID_ASSERT(output.dim() == 3 && output.size(1) == 2, "an output [n, 2, size] of pairs");
}

at::Tensor Retrieve::losses(const at::Tensor& output, const Examples& examples) const {
  check_pairs(output);
  const at::Tensor texts = numbers_of_texts(examples.inputs).to(output.device());
  const at::Tensor others =
      (texts.unsqueeze(0) == texts.unsqueeze(1)).logical_and(at::eye(texts.size(0), texts.options()).eq(0));
  const at::Tensor logits = at::matmul(output.select(1, 0), output.select(1, 1).t());
  const auto loss = [&, own = at::arange(texts.size(0), texts.options())](const at::Tensor& rows) {
    constexpr double kNever = -1e9;
    return at::cross_entropy_loss(rows.masked_fill(others, kNever), own, {}, at::Reduction::None);
  };
  return (loss(logits) + loss(logits.t())) / 2;
}

// int64 [n]: how many wrong ones have a logit that is not below that of the best right one. Each chunk of queries is
// compared with all keys.
at::Tensor wrong_in_front(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& texts) {
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < queries.size(0); begin += kQueries) {
    const int64_t count = std::min(kQueries, queries.size(0) - begin);
    const at::Tensor logits = at::matmul(queries.narrow(0, begin, count), keys.t());
    const at::Tensor right = texts.narrow(0, begin, count).unsqueeze(1) == texts.unsqueeze(0);
    const double never = -std::numeric_limits<double>::infinity();
    const at::Tensor best = std::get<0>(logits.masked_fill(right.logical_not(), never).max(1, true));
    // also where a logit is NaN
    parts.push_back((logits < best).logical_or(right).logical_not().sum(1));
  }
  return concatenate(parts).cpu();
}

// float [n]: 1 where fewer than `most` wrong ones are in front.
at::Tensor hits(const at::Tensor& in_front, int64_t most) {
  return (in_front < most).to(at::kFloat);
}

void add_recall(Answers& answers, const std::string& metric, const at::Tensor& of_examples) {
  const at::Tensor rows = of_examples.contiguous();
  const auto* first = rows.const_data_ptr<float>();
  answers.outcomes.push_back({"", metric, 1, {first, first + rows.numel()}});
  add_metric(answers, metric, number_rows(1, answers.outcomes.back().rows));
}

Answers Retrieve::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.inputs.tokens.defined(), "pictures with texts");
  std::vector<at::Tensor> places, rows;
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& of_batch) {
    rows.push_back(asking.output(ready, nullptr));
    check_pairs(rows.back());
    places.push_back(of_batch);
    asking.on_batch();
  });
  const at::Tensor order = concatenate(places).argsort();
  // float64: what is in front of what does not depend on how a product is made
  const at::Tensor all = concatenate(rows).to(at::kDouble).index_select(0, order.to(rows[0].device()));
  const at::Tensor texts = numbers_of_texts(examples.inputs).to(all.device());
  const at::Tensor of_images = wrong_in_front(all.select(1, 0), all.select(1, 1), texts);
  const at::Tensor of_texts = wrong_in_front(all.select(1, 1), all.select(1, 0), texts);
  Answers answers;
  answers.examples = count;
  answers.finite = all.isfinite().all().item<bool>();
  add_recall(answers, "recall_1", (hits(of_images, 1) + hits(of_texts, 1)) / 2);
  add_recall(answers, "recall_5", (hits(of_images, 5) + hits(of_texts, 5)) / 2);
  add_recall(answers, "text_recall_1", hits(of_images, 1));
  add_recall(answers, "image_recall_1", hits(of_texts, 1));
  return answers;
}

const bool registered = [] {
  static const Retrieve kind;
  kind_registry().add("retrieve", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::retrieve
