#include "coordinator/priors.h"

#include <algorithm>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr double kPassBytesPerSecond = 1e9;  // streamed through an element-wise pass
constexpr double kFlopsPerSecond = 4e10;     // of a forward pass
constexpr double kTrainingPasses =
    1.5;  // forward passes that a forward and backward pass of a small batch is worth
constexpr double kReadBytesPerSecond = 3e8;  // read, checked and digested
constexpr int64_t kExamples = 256;           // per expert, of methods that do not say how many they look at
constexpr int64_t kForwardTensors = 16;  // of hidden states' size, alive inside a block; the MLP's count four
constexpr int64_t kTrainingTensors = 24;  // of a block, kept for the backward pass

// A whole-numbered parameter of the cell's method; `otherwise` where it has none of that name.
int64_t parameter(const Cell& cell, const std::string& name, int64_t otherwise) {
  const std::string all = method_registry().at(cell.method).canonical(parse_call(cell.method_text()).second);
  const ParamText parameters = parse_call(cell.method + "{" + all + "}").second;
  const auto found = parameters.find(name);
  return found == parameters.end() ? otherwise : parse_int(found->second, name);
}

const MethodCard& card_of(const Cell& cell) {
  return method_registry().at(cell.method).card;
}

double forward_s(const ZooSize& size, double images) {
  const double parameters = static_cast<double>(size.model_bytes) / sizeof(float);
  return 2 * parameters * static_cast<double>(size.tokens) * images / kFlopsPerSecond;
}

// Rows of an example's hidden states: of an image as the architecture has them; of tokens no more than the longest row
// and answer of the zoo's tasks ask for, since a model may read far longer ones.
int64_t num_rows(const Architecture& architecture, const Zoo& zoo, const PackContents& contents) {
  if (architecture.input().image_size > 0) {
    return architecture.num_tokens();
  }
  int64_t longest = 1;
  for (const std::string& task : zoo.tasks) {
    if (const auto found = contents.find(task); found != contents.end()) {
      longest = std::max(longest, longest_with_answer(found->second));
    }
  }
  return longest;
}

}  // namespace

ZooSize zoo_size(const Zoo& zoo, const PackContents& contents) {
  const Replicate& replicate = zoo.replicates.front();
  const auto architecture = load_network_without_readouts(replicate.layout(), at::kCPU).architecture;
  const Blocks* blocks = architecture->blocks();
  const InputFormat input = architecture->input();
  const PixelSize pixels = input.pixels();
  const int64_t tokens = num_rows(*architecture, zoo, contents);
  ZooSize size{
      .tokens = tokens,
      .width = architecture->feature_size(),
      .blocks = blocks == nullptr ? 1 : blocks->size(),
      .input_bytes = input.image_size > 0 ? 3 * pixels.height * pixels.width : 8 * tokens,
      .contents = contents,
      .pack_bytes = zoo.pack.empty() ? 0 : static_cast<int64_t>(std::filesystem::file_size(zoo.pack))};
  for (const TensorInfo& info : architecture->parameters()) {
    size.model_bytes += info.numel() * static_cast<int64_t>(sizeof(float));
  }
  for (const auto& entry : std::filesystem::directory_iterator(replicate.layout())) {
    if (entry.path().extension() == ".safetensors") {
      size.checkpoint_bytes += static_cast<int64_t>(entry.file_size());
    }
  }
  return size;
}

int64_t num_experts(const Cell& cell) {
  const bool number = cell.experts.find_first_not_of("0123456789") == std::string::npos;
  return number ? parse_int(cell.experts, "experts") : static_cast<int64_t>(split(cell.experts, '+').size());
}

double models_asked(const Cell& cell) {
  const auto experts = static_cast<double>(num_experts(cell));
  switch (card_of(cell).yields) {
    case Yields::kOneModel:
    case Yields::kModelPerTask:
      return 1;
    case Yields::kEnsemble:
      return experts;
    case Yields::kRoutedModel:
      return 1 + experts * 2 / 3;  // every MLP, two thirds of a block, by the base and by each expert
  }
  FUSEGRID_ASSERT(false, "unknown kind of result");
}

double prior_fuse_s(const Cell& cell, const ZooSize& size) {
  const MethodCard& card = card_of(cell);
  const int64_t experts = num_experts(cell);
  if (card.min_experts == 0) {
    return 0;  // a reference row
  }
  const double pass_s =
      static_cast<double>(size.model_bytes) * static_cast<double>(experts + 2) / kPassBytesPerSecond;
  const auto images = static_cast<double>(experts * parameter(cell, "examples", kExamples));
  switch (card.cost) {
    case Cost::kElementwise:
      return 3 * pass_s;
    case Cost::kMatrix:
      return 100 * pass_s;
    case Cost::kForwardPasses:
      return 10 * pass_s +
             forward_s(size, images) * (card.needs.contains(Need::kGradients) ? kTrainingPasses : 1);
    case Cost::kTraining: {
      const int64_t steps = parameter(cell, "steps", 1000);
      const auto seen = static_cast<double>(steps * parameter(cell, "batch", 16) * experts);
      return kTrainingPasses * models_asked(cell) * forward_s(size, seen) +
             static_cast<double>(steps) * pass_s;
    }
  }
  FUSEGRID_ASSERT(false, "unknown cost class");
}

double prior_evaluate_s(const ZooSize& size, int64_t images) {
  return forward_s(size, static_cast<double>(images));
}

double prior_read_s(int64_t bytes) {
  return static_cast<double>(bytes) / kReadBytesPerSecond;
}

int64_t work_bytes(const Cell& cell, const ZooSize& size, int64_t batch) {
  const MethodCard& card = card_of(cell);
  const int64_t experts = num_experts(cell);
  const bool is_shared = card.family == Family::kReference || card.yields == Yields::kEnsemble;
  int64_t models = is_shared ? 0 : card.yields == Yields::kOneModel ? 1 : experts;        // of the result
  const int64_t hidden = size.tokens * size.width * static_cast<int64_t>(sizeof(float));  // of an image
  const int64_t pixels = size.input_bytes * static_cast<int64_t>(sizeof(float));
  int64_t activations = batch * (hidden * kForwardTensors + 2 * pixels);
  if (card.cost == Cost::kTraining) {
    models += card.training_models;
    const int64_t images = experts * parameter(cell, "batch", 16);
    activations = std::max(activations, images * (hidden * kTrainingTensors * size.blocks + 2 * pixels));
  } else if (card.cost != Cost::kElementwise) {
    models += 1;
  }
  return models * size.model_bytes + activations;
}

int64_t statistics_bytes(const Cell& cell, const ZooSize& size) {
  const MethodCard& card = card_of(cell);
  switch (card.cost) {
    case Cost::kElementwise:
      return card.needs.contains(Need::kPretrained) ? size.model_bytes : 0;
    case Cost::kMatrix:
    case Cost::kForwardPasses:
      return 2 * num_experts(cell) * size.model_bytes;
    case Cost::kTraining:
      return size.model_bytes;
  }
  FUSEGRID_ASSERT(false, "unknown cost class");
}

}  // namespace fusegrid
