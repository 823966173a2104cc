#include "models/inputs.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kWidthStep = 8;

at::Tensor applied(const at::Tensor& tensor, const std::function<at::Tensor(const at::Tensor&)>& change) {
  return tensor.defined() ? change(tensor) : tensor;
}

Inputs of_each(const Inputs& inputs, const std::function<at::Tensor(const at::Tensor&)>& change) {
  return {applied(inputs.images, change),         applied(inputs.tokens, change),
          applied(inputs.lengths, change),        applied(inputs.answer, change),
          applied(inputs.answer_lengths, change), applied(inputs.choices, change),
          applied(inputs.choice_lengths, change), applied(inputs.state, change),
          applied(inputs.time, change),           applied(inputs.condition, change),
          applied(inputs.types, change),          inputs.pairs};
}

// The last axis of rows of tokens, as wide as the longest asks for.
at::Tensor trimmed(const at::Tensor& rows, const at::Tensor& lengths) {
  const int64_t width = token_width(lengths.max().item<int64_t>());
  return rows.narrow(-1, 0, std::min(width, rows.size(-1)));
}

Inputs trimmed(Inputs inputs) {
  if (inputs.tokens.defined() && inputs.size() > 0) {
    inputs.tokens = trimmed(inputs.tokens, inputs.lengths);
    inputs.types = inputs.types.defined() ? trimmed(inputs.types, inputs.lengths) : at::Tensor();
    inputs.choices = inputs.choices.defined() ? trimmed(inputs.choices, inputs.choice_lengths) : at::Tensor();
  }
  return inputs;
}

// Of each row, what it is filled up to: that of its tokens, and of its longest choice.
std::vector<std::pair<int64_t, int64_t>> widths_of(const Inputs& inputs) {
  const auto numbers = [](const at::Tensor& lengths) { return lengths.cpu().contiguous(); };
  const at::Tensor lengths = numbers(inputs.lengths);
  const at::Tensor choices =
      inputs.choices.defined() ? numbers(inputs.choice_lengths.amax(1)) : at::zeros_like(lengths);
  std::vector<std::pair<int64_t, int64_t>> widths;
  for (int64_t i = 0; i < inputs.size(); ++i) {
    widths.emplace_back(token_width(lengths.const_data_ptr<int64_t>()[i]),
                        token_width(choices.const_data_ptr<int64_t>()[i]));
  }
  return widths;
}

at::Tensor widened(const at::Tensor& tokens, int64_t width) {
  const int64_t missing = width - tokens.size(1);
  return missing == 0 ? tokens
                      : concatenate({tokens, at::zeros({tokens.size(0), missing}, tokens.options())}, 1);
}

}  // namespace

int64_t Inputs::size() const {
  for (const at::Tensor& tensor : {images, tokens, state}) {
    if (tensor.defined()) {
      return tensor.size(0);
    }
  }
  return 0;
}

std::vector<at::Tensor> Inputs::tensors() const {
  std::vector<at::Tensor> all;
  of_each(*this, [&](const at::Tensor& tensor) {
    all.push_back(tensor);
    return tensor;
  });
  return all;
}

Inputs Inputs::rows(int64_t begin, int64_t count) const {
  return of_each(*this, [&](const at::Tensor& tensor) { return tensor.narrow(0, begin, count); });
}

Inputs Inputs::select(const at::Tensor& indices) const {
  return trimmed(of_each(
      *this, [&](const at::Tensor& tensor) { return tensor.index_select(0, indices.to(tensor.device())); }));
}

Inputs Inputs::to(at::Device device) const {
  return of_each(*this, [&](const at::Tensor& tensor) { return tensor.to(device); });
}

at::Tensor Inputs::counting(Rows rows, int64_t positions) const {
  if (rows == Rows::kAnswer) {
    FUSEGRID_ASSERT(answer.defined(), "rows of an answer that is not there");
    return counting_positions(answer_lengths + 1, answer.size(1) + 1);
  }
  if (!tokens.defined() || (images.defined() && rows == Rows::kInput)) {
    return {};
  }
  if (rows == Rows::kSequence) {
    const at::Tensor of_tokens = counting(Rows::kBoth);
    const int64_t of_image = positions - of_tokens.size(1);
    FUSEGRID_ASSERT(of_image >= 0 && (of_image == 0 || images.defined()),
                    "rows of an image that is not there");
    return concatenate({at::ones({of_tokens.size(0), of_image}, of_tokens.options()), of_tokens}, 1);
  }
  return rows == Rows::kBoth && answer.defined()
             ? counting_positions(lengths + answer_lengths, tokens.size(1) + answer.size(1))
             : counting_positions(lengths, tokens.size(1));
}

at::Tensor counting_positions(const at::Tensor& lengths, int64_t width) {
  return at::arange(width, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1);
}

int64_t token_width(int64_t length) {
  return (length + kWidthStep - 1) / kWidthStep * kWidthStep;
}

Inputs token_inputs(const at::Tensor& ids, const at::Tensor& offsets, int64_t pad) {
  const int64_t count = offsets.size(0) - 1;
  const at::Tensor flat = ids.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor ends = offsets.to(at::kCPU, at::kLong).contiguous();
  Inputs inputs;
  inputs.lengths = (ends.narrow(0, 1, count) - ends.narrow(0, 0, count)).contiguous();
  const int64_t width = count == 0 ? 0 : token_width(inputs.lengths.max().item<int64_t>());
  inputs.tokens = at::full({count, width}, pad, at::kLong);
  const auto* from = flat.const_data_ptr<int64_t>();
  const auto* offset = ends.const_data_ptr<int64_t>();
  auto* to = inputs.tokens.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < count; ++row) {
    std::copy(from + offset[row], from + offset[row + 1], to + row * width);
  }
  return inputs;
}

at::Tensor types_behind(const at::Tensor& tokens, int64_t separator) {
  const at::Tensor separators = (tokens == separator).to(at::kLong);
  return (separators.cumsum(1) > separators).to(at::kLong);
}

Inputs with_choices(Inputs inputs, const Inputs& rows, const at::Tensor& offsets, int64_t pad) {
  const int64_t count = offsets.size(0) - 1;
  const at::Tensor ends = offsets.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor counts = ends.narrow(0, 1, count) - ends.narrow(0, 0, count);
  const int64_t most = counts.max().item<int64_t>();
  const at::Tensor places = at::nonzero(counting_positions(counts, most).flatten()).squeeze(1);
  inputs.choices = at::full({count * most, rows.tokens.size(1)}, pad, at::kLong)
                       .index_copy_(0, places, rows.tokens)
                       .view({count, most, -1});
  inputs.choice_lengths =
      at::zeros({count * most}, at::kLong).index_copy_(0, places, rows.lengths).view({count, most});
  return inputs;
}

Inputs concatenate_inputs(const std::vector<Inputs>& parts) {
  const auto all = [&](at::Tensor Inputs::*member) {
    std::vector<at::Tensor> tensors;
    int64_t width = 0;
    for (const Inputs& part : parts) {
      if ((part.*member).defined()) {
        tensors.push_back(part.*member);
        width = std::max(width, tensors.back().dim() == 2 ? tensors.back().size(1) : 0);
      }
    }
    FUSEGRID_ASSERT(tensors.empty() || tensors.size() == parts.size(), "parts of one kind");
    for (at::Tensor& tensor : tensors) {
      tensor = tensor.dim() == 2 ? widened(tensor, width) : tensor;
    }
    return tensors.empty() ? at::Tensor() : concatenate(tensors);
  };
  const bool pairs = !parts.empty() && parts.front().pairs;
  for (const Inputs& part : parts) {
    FUSEGRID_ASSERT(part.pairs == pairs, "parts of one kind");
  }
  return {.images = all(&Inputs::images),
          .tokens = all(&Inputs::tokens),
          .lengths = all(&Inputs::lengths),
          .answer = all(&Inputs::answer),
          .answer_lengths = all(&Inputs::answer_lengths),
          .state = all(&Inputs::state),
          .time = all(&Inputs::time),
          .condition = all(&Inputs::condition),
          .types = all(&Inputs::types),
          .pairs = pairs};
}

void for_each_batch(const Inputs& inputs, int64_t batch,
                    const std::function<void(const Inputs& part, const at::Tensor& places)>& visit) {
  if (!inputs.tokens.defined()) {
    for (int64_t begin = 0; begin < inputs.size(); begin += batch) {
      const int64_t count = std::min(batch, inputs.size() - begin);
      visit(inputs.rows(begin, count), at::arange(begin, begin + count, at::kLong));
    }
    return;
  }
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> by_width;
  const auto widths = widths_of(inputs);
  for (size_t i = 0; i < widths.size(); ++i) {
    by_width[widths[i]].push_back(static_cast<int64_t>(i));
  }
  for (const auto& [width, rows] : by_width) {
    const at::Tensor all = at::tensor(rows, at::kLong);
    for (int64_t begin = 0; begin < all.size(0); begin += batch) {
      const at::Tensor places = all.narrow(0, begin, std::min(batch, all.size(0) - begin));
      visit(inputs.select(places), places);
    }
  }
}

Examples Examples::first(int64_t count) const {
  const int64_t used = count < 0 ? inputs.size() : std::min(count, inputs.size());
  const auto front = [&](const at::Tensor& tensor) { return tensor.narrow(0, 0, used); };
  return {inputs.rows(0, used),     applied(labels, front),         applied(values, front),
          applied(wanted, front),   applied(wanted_lengths, front), applied(maps, front),
          applied(pictures, front), applied(velocities, front)};
}

Examples Examples::at(const at::Tensor& places, Inputs part) const {
  const auto choose = [&](const at::Tensor& tensor) {
    return tensor.index_select(0, places.to(tensor.device()));
  };
  return {std::move(part),           applied(labels, choose),         applied(values, choose),
          applied(wanted, choose),   applied(wanted_lengths, choose), applied(maps, choose),
          applied(pictures, choose), applied(velocities, choose)};
}

Examples Examples::to(at::Device device) const {
  const auto move = [&](const at::Tensor& tensor) { return tensor.to(device); };
  return {inputs.to(device),       applied(labels, move),         applied(values, move),
          applied(wanted, move),   applied(wanted_lengths, move), applied(maps, move),
          applied(pictures, move), applied(velocities, move)};
}

}  // namespace fusegrid
