#include "zoo/examples.h"

#include <utility>

#include "core/errors.h"

namespace fusegrid {

Examples examples_of(const Split& split, const TokenTable* tokens, at::Device device) {
  Examples examples;
  if (split.tokens.defined()) {
    FUSEGRID_ASSERT(tokens != nullptr, "rows of tokens without a table");
    examples.inputs = token_inputs(split.tokens.ids, split.tokens.offsets, tokens->pad);
  }
  examples.inputs.images = split.images;
  if (split.answers.defined()) {
    const Inputs answers = token_inputs(split.answers.ids, split.answers.offsets, tokens->pad);
    examples.wanted = answers.tokens;
    examples.wanted_lengths = answers.lengths;
  }
  if (split.choices.defined()) {
    const TokenRows& rows = split.choices.rows;
    examples.inputs =
        with_choices(std::move(examples.inputs), token_inputs(rows.ids, rows.offsets, tokens->pad),
                     split.choices.offsets, tokens->pad);
  }
  examples.labels = split.labels;
  examples.values = split.values;
  examples.maps = split.maps;
  return examples.to(device);
}

}  // namespace fusegrid
