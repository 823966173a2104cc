#include "zoo/examples.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {

namespace {

// The numbers of examples [begin, begin + count) of a split, `each` of them, are a function of the split's name and of
// their own number.
at::Tensor keyed(at::Tensor (*draw)(uint64_t, uint64_t, int64_t, int64_t), const std::string& purpose,
                 const Split& split, int64_t each) {
  const int64_t count = split.images.size(0);
  return draw(derive_key(0, purpose + split.name), 0, split.begin * each, count * each);
}

// Training examples are on their way from noise to the picture, as far as chance says; those of the other splits are at
// its begin.
Examples flow_examples(const Split& split) {
  Examples examples;
  examples.pictures = split.images.to(at::kFloat) / 127.5 - 1;
  const int64_t count = examples.pictures.size(0);
  const at::Tensor noise =
      keyed(normal, "noise/", split, examples.pictures[0].numel()).view(examples.pictures.sizes());
  examples.velocities = examples.pictures - noise;
  examples.inputs.time =
      split.name.ends_with("/train") ? keyed(uniform, "time/", split, 1) : at::zeros({count}, at::kFloat);
  examples.inputs.state = noise + examples.inputs.time.view({-1, 1, 1, 1}) * examples.velocities;
  examples.labels = split.labels;
  examples.inputs.condition = split.conditions;
  return examples;
}

}  // namespace

Examples examples_of(const Split& split, const TokenTable* tokens, at::Device device) {
  Examples examples;
  if (split.conditions.defined()) {
    return flow_examples(split).to(device);
  }
  if (split.tokens.defined()) {
    FUSEGRID_ASSERT(tokens != nullptr, "rows of tokens without a table");
    examples.inputs = token_inputs(split.tokens.ids, split.tokens.offsets, tokens->pad);
    // Prompts with choices are read by decoders, which know no types.
    if (tokens->separator && !split.choices.defined()) {
      examples.inputs.types = types_behind(examples.inputs.tokens, *tokens->separator);
    }
  }
  examples.inputs.images = split.images;
  examples.inputs.pairs = split.pairs;
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
