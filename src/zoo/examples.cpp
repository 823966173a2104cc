#include "zoo/examples.h"

#include "core/errors.h"

namespace fusegrid {

Examples examples_of(const Split& split, const TokenTable* tokens, at::Device device) {
  Examples examples;
  if (split.images.defined()) {
    examples.inputs.images = split.images;
  } else {
    FUSEGRID_ASSERT(tokens != nullptr, "rows of tokens without a table");
    examples.inputs = token_inputs(split.tokens.ids, split.tokens.offsets, tokens->pad);
  }
  examples.inputs = examples.inputs.to(device);
  examples.labels = split.labels.defined() ? split.labels.to(device) : split.labels;
  if (split.answers.defined()) {
    const Inputs answers = token_inputs(split.answers.ids, split.answers.offsets, tokens->pad);
    examples.wanted = answers.tokens.to(device);
    examples.wanted_lengths = answers.lengths.to(device);
  }
  examples.values = split.values.defined() ? split.values.to(device) : split.values;
  return examples;
}

}  // namespace fusegrid
