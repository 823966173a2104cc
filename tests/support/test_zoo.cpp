#include "support/test_zoo.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/fusion_input.h"
#include "models/network.h"
#include "support/golden.h"
#include "support/small_models.h"
#include "support/token_task.h"

namespace fusegrid {
namespace {

nlohmann::json tiny_config(int64_t blocks) {
  return {{"model_type", "clip_vision_model"},
          {"hidden_size", 8},
          {"intermediate_size", 16},
          {"num_hidden_layers", blocks},
          {"num_attention_heads", 2},
          {"image_size", 8},
          {"patch_size", 4},
          {"hidden_act", "quick_gelu"}};
}

at::Tensor random_rows(uint64_t key, int64_t rows, int64_t columns) {
  const at::Tensor values = normal(key, 0, 0, rows * columns).view({rows, columns});
  return values / values.norm(2, {1}, true);
}

Examples noise(uint64_t key, int64_t count, int64_t classes) {
  const at::Tensor pixels = (uniform(key, 0, 0, count * 3 * 64) * 255).to(at::kByte);
  return {{pixels.view({count, 3, 8, 8}), {}, {}}, at::arange(count, at::kLong).remainder(classes)};
}

std::map<std::string, std::string> owners_of_their_names(const std::vector<std::string>& names) {
  std::map<std::string, std::string> owners;
  for (const std::string& name : names) {
    owners.emplace(name, name);
  }
  return owners;
}

void add_task(TestZoo& zoo, const std::string& task, uint64_t key, int64_t classes) {
  zoo.tasks.push_back(task);
  zoo.network->readouts[task] = cosine_readout(random_rows(key, classes, 8), 10.0);
  zoo.data.set(task, "train", noise(key + 1, 24, classes));
  zoo.data.set(task, "val", noise(key + 2, 12, classes));
  zoo.data.set(task, "test", noise(key + 3, 20, classes));
}

// ---- tokens

constexpr int64_t kVocabulary = 7;

nlohmann::json tiny_t5() {
  return {{"model_type", "t5"},
          {"d_model", 8},
          {"d_kv", 4},
          {"d_ff", 10},
          {"num_layers", 2},
          {"num_heads", 2},
          {"vocab_size", kVocabulary},
          {"n_positions", 16},
          {"feed_forward_proj", "gated-gelu"},
          {"decoder_start_token_id", kPad}};
}

nlohmann::json tiny_gpt2() {
  return {{"model_type", "gpt2"}, {"n_embd", 8},       {"n_layer", 2},
          {"n_head", 2},          {"n_positions", 16}, {"vocab_size", kVocabulary}};
}

// Answers have four tokens at most.
std::shared_ptr<const TaskKind> kind_of_tokens(const std::string& kind) {
  static const TokenTable table = [] {
    TokenTable letters = letter_table();
    letters.entries.resize(kVocabulary);
    return letters;
  }();
  return kind_of(token_task(kind, 4), &table);
}

// Without padding.
std::vector<int64_t> random_row(uint64_t key, int64_t stream, int64_t length) {
  const at::Tensor ids = uniform(key, static_cast<uint64_t>(stream), 0, length) * (kVocabulary - 1) + 1;
  const at::Tensor whole = ids.to(at::kLong);
  return {whole.const_data_ptr<int64_t>(), whole.const_data_ptr<int64_t>() + whole.numel()};
}

Examples random_rows_of_tokens(uint64_t key, int64_t count) {
  std::vector<std::vector<int64_t>> rows;
  std::vector<std::vector<int64_t>> answers;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(random_row(key, i, 1 + (5 * i) % 12));
    answers.push_back(random_row(key + 7, i, 1 + i % 4));
  }
  const Inputs wanted = rows_of(answers);
  return {.inputs = rows_of(rows), .wanted = wanted.tokens, .wanted_lengths = wanted.lengths};
}

Examples random_answers(uint64_t key, int64_t count) {
  Examples examples = random_rows_of_tokens(key, count);
  std::vector<std::vector<int64_t>> answers;
  for (int64_t i = 0; i < count; ++i) {
    answers.push_back(random_row(key + 1, i, 1 + i % 4));
    answers.back().back() = kEnd;
  }
  const Inputs rows = rows_of(answers);
  examples.wanted = rows.tokens;
  examples.wanted_lengths = rows.lengths;
  return examples;
}

Examples random_choices(uint64_t key, int64_t count) {
  Examples examples = random_rows_of_tokens(key, count);
  std::vector<std::vector<std::vector<int64_t>>> choices(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t choice = 0; choice < 2 + i % 2; ++choice) {
      choices[static_cast<size_t>(i)].push_back(
          random_row(key + 1, 3 * i + choice, 1 + (i + 2 * choice) % 4));
    }
  }
  examples.inputs = with_choices(examples.inputs, choices);
  examples.labels = at::arange(count, at::kLong).remainder(2);
  return examples;
}

// Models of tokens, and tasks of one kind.
TestZoo zoo_of_tokens(size_t experts, double spread, const nlohmann::json& config, const std::string& kind,
                      Examples (*examples)(uint64_t key, int64_t count)) {
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = make_architecture(config);
  const Architecture& architecture = *zoo.network->architecture;
  zoo.base = random_weights(architecture, at::kFloat);
  for (auto& [name, tensor] : zoo.base) {  // so that answers differ, and end sooner or later
    tensor = name.find("layer_norm") == std::string::npos ? tensor * 2 : tensor + 1;
  }
  zoo.multitask = perturbed(zoo.base, spread, 2);
  for (size_t i = 0; i < experts; ++i) {
    const std::string task = "task" + std::to_string(i);
    const auto key = static_cast<uint64_t>(100 + 10 * i);
    zoo.tasks.push_back(task);
    zoo.network->readouts[task] =
        own_readout(*architecture.own_head(), architecture.feature_size(), kVocabulary);
    zoo.data.set_kind(task, kind_of_tokens(kind));
    zoo.data.set(task, "train", examples(key + 1, 9));
    zoo.data.set(task, "test", examples(key + 2, 8));
    zoo.data.set(task, "val", examples(key + 3, 7));
    zoo.experts.push_back(perturbed(zoo.base, spread, key));
  }
  return zoo;
}

}  // namespace

void SyntheticData::set(const std::string& task, const std::string& split, Examples examples) {
  examples_[task + "/" + split] = std::move(examples);
}

Examples SyntheticData::examples(const std::string& task, const std::string& split, int64_t count) const {
  touched_.insert(split);
  return examples_.at(task + "/" + split).first(count);
}

void SyntheticData::set_kind(const std::string& task, std::shared_ptr<const TaskKind> kind) {
  kinds_[task] = std::move(kind);
}

const TaskKind& SyntheticData::kind(const std::string& task) const {
  const auto kind = kinds_.find(task);
  return kind == kinds_.end() ? task_kind("classify") : *kind->second;
}

void TestZoo::with_input(const MethodCard& card, const std::function<void(const FusionInput&)>& visit) const {
  static const Weights kNoBase;
  const bool with_base = card.needs.contains(Need::kPretrained);
  FusionContext context;
  context.card = &card;
  context.network = network.get();
  context.data = &data;
  context.cache = cache.get();
  context.expert_names = tasks;
  context.owners = owners.empty() ? owners_of_their_names(tasks) : owners;
  context.classes_seen = classes_seen;
  context.seed = seed;
  for (size_t i = 0; i < experts.size(); ++i) {
    context.experts.push_back(&experts[i]);
    context.expert_keys.push_back(expert_key(i));
  }
  std::vector<const FactorsByName*> of_experts;
  for (const FactorsByName& each : factors) {
    of_experts.push_back(&each);
  }
  context.base = with_base ? &base : &kNoBase;
  context.base_key = with_base ? digest(base) : "";
  context.multitask = multitask.empty() ? nullptr : &multitask;
  context.multitask_readouts = multitask_readouts;
  MemoryEngine engine(*context.base, context.experts, models_key(context.base_key, context.expert_keys),
                      *cache, context.tick, of_experts);
  context.engine = &engine;
  visit(FusionInput(context));
}

void TestZoo::with_needs(const std::set<Need>& needs,
                         const std::function<void(const FusionInput&)>& visit) const {
  MethodCard card;
  card.name = "a_test";
  card.needs = needs;
  with_input(card, visit);
}

Merged TestZoo::fuse(const std::string& call) const {
  const auto [name, parameters] = parse_call(call);
  const Method& method = method_registry().at(name);
  method.check(parameters, method.card, static_cast<int64_t>(experts.size()));
  Merged merged;
  with_input(method.card_of(parameters), [&, &parameters = parameters](const FusionInput& in) {
    merged.model = std::make_shared<const FusedModel>(method.fuse(in, parameters));
  });
  merged.weights = merged.model->predictor->weights();
  merged.facts = merged.model->facts;
  merged.stored_parameters = merged.model->stored_parameters;
  return merged;
}

std::string TestZoo::expert_on_data_key(size_t index) const {
  return on_data_key(expert_key(index), *network, data);
}

at::Tensor TestZoo::logits(const Merged& merged, const std::string& task, int64_t batch) const {
  const Inputs inputs = data.examples(task, "test", -1).inputs;
  Network read_as = *network;
  for (const auto& [head, readout] : merged.model->readouts) {
    read_as.readouts[head] = readout;
  }
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < inputs.size(); begin += batch) {
    const Inputs part = inputs.rows(begin, std::min(batch, inputs.size() - begin));
    parts.push_back(merged.model->predictor->output(read_as, network->ready(part), {task, task}));
  }
  return concatenate(parts);
}

at::Tensor TestZoo::logits_of(const Weights& weights, const std::string& task) const {
  return network->output(weights, network->ready(data.examples(task, "test", -1).inputs), task);
}

TestZoo TestZoo::first(size_t count) const {
  TestZoo part = *this;
  part.tasks.resize(count);
  part.experts.resize(count);
  return part;
}

Weights perturbed(const Weights& weights, double spread, uint64_t key) {
  Weights moved;
  uint64_t stream = 0;
  for (const auto& [name, tensor] : weights) {
    moved[name] = tensor.is_floating_point()
                      ? tensor + normal(key, stream++, 0, tensor.numel()).view(tensor.sizes()) * spread
                      : tensor.clone();
  }
  return moved;
}

TestZoo random_zoo(size_t experts, double spread) {
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = make_architecture(tiny_config(2));
  for (const TensorInfo& info : zoo.network->architecture->parameters()) {
    const bool scale = info.name.find("norm") != std::string::npos && info.name.ends_with("weight");
    zoo.base[info.name] = at::zeros(info.shape, at::kFloat) + (scale ? 1.0 : 0.0);
  }
  zoo.base["vision_model.embeddings.position_ids"] = at::arange(5, at::kLong).view({1, 5});
  zoo.base = perturbed(zoo.base, 0.2, 1);
  zoo.multitask = perturbed(zoo.base, spread, 2);
  for (size_t i = 0; i < experts; ++i) {
    const auto key = static_cast<uint64_t>(100 + 10 * i);
    add_task(zoo, "task" + std::to_string(i), key, 3 + static_cast<int64_t>(i % 3));
    zoo.experts.push_back(perturbed(zoo.base, spread, key));
  }
  return zoo;
}

TestZoo affine_zoo(size_t experts, double spread) {
  TestZoo zoo = random_zoo(experts, spread);
  for (size_t i = 0; i < experts; ++i) {
    auto& readout = zoo.network->readouts.at(zoo.tasks[i]);
    const int64_t classes = readout->outputs();
    readout = affine_readout(random_rows(50 + i, classes, 8) * 3, random_rows(70 + i, 1, classes)[0],
                             Pooling::kFirst);
  }
  return zoo;
}

TestZoo unit_zoo(size_t experts, double spread, const std::string& model_type) {
  const std::vector<int64_t> widths{model_type == "mlp" ? 10 : 6, 8};
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture =
      make_architecture({{"model_type", model_type}, {"image_size", 8}, {"hidden_sizes", widths}});
  for (const TensorInfo& info : zoo.network->architecture->parameters()) {
    const bool bias = info.name.ends_with("bias");  // positive ones, so that few units are dead
    zoo.base[info.name] = at::zeros(info.shape, at::kFloat) + (bias ? 0.5 : 0.0);
  }
  zoo.base = perturbed(zoo.base, 0.2, 1);
  zoo.multitask = perturbed(zoo.base, 0.2 * spread, 2);
  for (size_t i = 0; i < experts; ++i) {
    const auto key = static_cast<uint64_t>(100 + 10 * i);
    add_task(zoo, "task" + std::to_string(i), key, 3 + static_cast<int64_t>(i % 3));
    zoo.experts.push_back(perturbed(zoo.base, 0.2 * spread, key));
  }
  return zoo;
}

TestZoo token_zoo(size_t experts, double spread) {
  return zoo_of_tokens(experts, spread, tiny_t5(), "generate", random_answers);
}

TestZoo choice_zoo(size_t experts, double spread) {
  return zoo_of_tokens(experts, spread, tiny_gpt2(), "multiple_choice", random_choices);
}

TestZoo golden_zoo() {
  const Golden inputs = read_golden("inputs");
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = make_architecture(tiny_config(1));
  zoo.base = as_float(inputs.under("base"));
  for (int i = 0; i < 4; ++i) {
    zoo.tasks.push_back("expert" + std::to_string(i));
    zoo.experts.push_back(as_float(inputs.under(zoo.tasks.back())));
  }
  return zoo;
}

}  // namespace fusegrid
