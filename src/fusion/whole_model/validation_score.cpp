#include "fusion/whole_model/validation_score.h"

#include "models/feeder.h"

namespace fusegrid {

ValidationScorer::ValidationScorer(const FusionInput& in) : in_(in) {
  for (const std::string& task : in.tasks()) {
    examples_.push_back(in.validation_examples(task));
  }
}

ValidationScore ValidationScorer::operator()(const Weights& model) const {
  constexpr int64_t kBatch = 256;
  const PrecisionScope scope(in_.network().precision);
  const Weights weights = rounded(model, in_.network().precision);
  ValidationScore score;
  for (size_t task = 0; task < examples_.size(); ++task) {
    const std::string& name = in_.tasks()[task];
    const Answers answers =
        in_.kind(name).answer(examples_[task], {.feed = feed_of(in_.network()),
                                                .output = asker_of(in_.network(), weights, name),
                                                .batch = kBatch,
                                                .on_batch = [&] { in_.tick(); }});
    score.accuracy += answers.metrics.at("accuracy") / static_cast<double>(examples_.size());
    score.loss += answers.metrics.at("loss") / static_cast<double>(examples_.size());
  }
  return score;
}

}  // namespace fusegrid
