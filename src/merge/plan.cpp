#include <set>

#include "checkpoint/buffers.h"
#include "checkpoint/folder_files.h"
#include "checkpoint/model_spec.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "fusion/called_elsewhere.h"
#include "fusion/compat/compat.h"
#include "fusion/engines/stream_engine.h"
#include "fusion/method.h"
#include "fusion/sharding.h"
#include "merge/linear_reduction.h"
#include "merge/merge.h"
#include "merge/output_folder.h"
#include "merge/outputs.h"
#include "merge/rehearsal.h"
#include "merge/rounding.h"
#include "merge/tokenizers.h"
#include "merge/vocabulary.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostNamed = 8;                      // of the files that a note names
constexpr int64_t kMadeFileBytes = int64_t{5} << 30;  // of models without files: as HuggingFace's libraries

void check_mergeable(const MethodCard& card) {
  if (can_be_sharded(card)) {
    return;
  }
  std::vector<std::string> can;
  for (const std::string& name : method_registry().names()) {
    if (can_be_sharded(method_registry().at(name).card)) {
      can.push_back(name);
    }
  }
  std::vector<std::string> needs;
  for (const Need need : card.needs) {
    if (need != Need::kPretrained) {
      needs.push_back(to_string(need));
    }
  }
  throw ConfigError(
      "'merge' works on weights alone, but method '" + card.name + "' " +
      (needs.empty() ? "gives no single set of weights per model" : "needs " + join(needs, ", ")) +
      "; run it on a zoo with 'fusegrid run', or merge with one of: " + join(can, ", "));
}

void check_parameters(const MergeSpec& spec, const std::string& name, const ParamText& parameters,
                      int64_t experts) {
  const Method& method = method_registry().at(name);
  check_parameter_names(method, parameters);
  method.canonical(parameters);  // unknown parameters, values out of range
  method.check(parameters, method.card, experts);
  if (spec.precision == MergePrecision::kCompat) {
    check_compat(name, parameters);
  }
}

// "ties-density=0.5-scale=0.3": the parameters that were given. Lists are joined by '+', since scp and rsync take what
// stands before a ':' for a host; of long ones (file systems end at 255 bytes) the end is a digest.
std::string folder_name(const MergeMethod& call) {
  constexpr size_t kLongest = 200;
  std::string name = call.name;
  for (const auto& [key, value] : call.parameters) {
    name += "-" + key + "=" + value;
  }
  std::replace(name.begin(), name.end(), ':', '+');
  return name.size() <= kLongest ? name
                                 : name.substr(0, kLongest - 17) + "-" + sha256_hex(name).substr(0, 16);
}

std::vector<MergeOutput> plan_outputs(const MergeSpec& spec) {
  std::vector<MergeOutput> outputs;
  std::set<std::string> calls;
  for (size_t i = 0; i < spec.methods.size(); ++i) {
    const MergeMethod& call = spec.methods[i];
    const Method& method = method_registry().at(call.name);
    if (!calls.insert(call.name + "{" + method.canonical(call.parameters) + "}").second) {
      throw ConfigError("every configuration must be given once, but " + folder_name(call) +
                        " is given twice");
    }
    const std::string folder = spec.methods.size() == 1 ? "" : folder_name(call);
    if (method.card.yields == Yields::kModelPerTask) {
      for (const MergeExpert& expert : spec.experts) {
        check_name(expert.name,
                   "the name of an expert, which is that of its folder below --out where a method writes a "
                   "model for each,");
        outputs.push_back({i, expert.name, (fs::path(folder) / expert.name).string()});
      }
    } else {
      outputs.push_back({i, "", folder});
    }
  }
  return outputs;
}

nlohmann::json identity_of_vocabulary(const VocabularySpec& spec, const OutputTokens& tokens) {
  nlohmann::json identity = {
      {"tokens", tokens.tokens}, {"rows", tokens.rows}, {"rules", nlohmann::json::array()}};
  for (const TokenRule& rule : spec.rules) {
    identity["rules"].push_back({rule.token, static_cast<int>(rule.kind), rule.model.string(),
                                 rule.other_token, rule.other_id.value_or(-1), rule.force});
  }
  return identity;
}

std::string identity_of(const MergePlan& plan) {
  const MergeSpec& spec = plan.spec;
  nlohmann::json identity = {{"format", 1},
                             {"inputs", plan.inputs.stamps},
                             {"seed", spec.seed},
                             {"reduction", static_cast<int>(spec.reduction)},
                             {"precision", spec.precision == MergePrecision::kCompat ? "compat" : "fp32"},
                             {"device", spec.device.is_cpu() ? "cpu" : "gpu"},
                             {"digests", static_cast<int>(spec.digests)},
                             {"vocabulary", spec.allow_vocabulary_mismatch},
                             {"heads", spec.allow_head_mismatch},
                             {"non_finite", spec.allow_non_finite},
                             {"tokenizer", spec.tokenizer_from.value_or("")}};
  for (const MergeExpert& expert : spec.experts) {
    identity["experts"].push_back(expert.name);
  }
  const auto canonical = [](const MergeMethod& call, const ParamText& parameters) {
    return method_registry().at(call.name).canonical(parameters);
  };
  for (const MergeMethod& call : spec.methods) {
    identity["methods"].push_back({call.name, canonical(call, call.parameters)});
    for (const MergePart& part : call.parts) {
      identity["parts"].push_back({part.tensors, canonical(call, part.parameters), part.experts});
    }
  }
  if (spec.vocabulary) {
    identity["vocabulary_of_result"] = identity_of_vocabulary(*spec.vocabulary, *plan.inputs.tokens);
  }
  if (spec.chat_template) {
    identity["chat_template"] = *spec.chat_template;
  }
  if (spec.model_dtype) {
    identity["model_dtype"] = at::toString(*spec.model_dtype);
  }
  for (const MergeOutput& output : plan.outputs) {
    identity["folders"].push_back(output.folder);
  }
  for (const MergeShard& shard : plan.layout.shards) {
    for (const TensorInfo& info : shard.tensors) {
      identity["files"][shard.file].push_back({info.name, at::toString(info.dtype)});
    }
  }
  return identity.dump(1);
}

std::string alternatives_of(const std::vector<TokenizerOwner>& experts) {
  std::vector<std::string> names;
  for (const TokenizerOwner& expert : experts) {
    names.push_back(expert.name);
  }
  return "; the experts are " + join(names, ", ");
}

// The tokenizer of a result with a vocabulary of its own.
void take_output_tokens(MergePlan& plan) {
  const OutputTokens& tokens = *plan.inputs.tokens;
  const TokenizerOwner owner{tokens.folder.string(), tokens.folder};
  if (tokens.folder != plan.inputs.folder) {
    take_tokenizer(owner, tokens.rows, plan.spec.reading(), plan.small, plan.inputs.config);
  }
  if (!tokens.added.empty()) {
    add_tokens(owner, tokens.added, plan.spec.reading(), plan.small);
  }
}

void plan_small_files(MergePlan& plan) {
  const MergeSpec& spec = plan.spec;
  plan.small = small_files_of(plan.inputs.folder, spec.reading(), {spec.out, spec.out.string() + ".partial"});
  if (!plan.small.left_out.empty()) {
    plan.notes.push_back("of '" + plan.inputs.folder.string() + "' the result lacks " +
                         some_names(plan.small.left_out, kMostNamed));
  }
  for (const auto& [name, path] : plan.small.files) {
    if (folder_entry(std::filesystem::path(name).filename().string()) == FolderEntry::kWeights) {
      plan.notes.push_back("'" + name + "' is not merged: the result has that of '" +
                           plan.inputs.folder.string() + "'");
    }
  }
  const auto folder_of = [](const fs::path& model) { return parse_model(model.string())->folders().front(); };
  std::vector<TokenizerOwner> experts;
  for (const MergeExpert& expert : spec.experts) {
    experts.push_back({expert.name, folder_of(expert.path)});
  }
  const TokenizerOwner reference{plan.inputs.reference().name(), plan.inputs.folder};
  if (plan.inputs.tokens) {
    take_output_tokens(plan);
  } else {
    for (std::string& note : tokenizer_notes(reference, experts, spec.tokenizer_from, spec.reading())) {
      plan.notes.push_back(std::move(note));
    }
  }
  if (spec.tokenizer_from) {
    const auto expert = std::find_if(experts.begin(), experts.end(), [&](const TokenizerOwner& candidate) {
      return candidate.name == *spec.tokenizer_from || candidate.folder == fs::path(*spec.tokenizer_from);
    });
    if (expert == experts.end()) {
      throw ConfigError("--tokenizer-from must be the name of an expert, but it is '" + *spec.tokenizer_from +
                        "'" + alternatives_of(experts));
    }
    take_tokenizer(*expert, vocabulary_rows(plan.inputs.reference()), spec.reading(), plan.small,
                   plan.inputs.config);
  }
  if (spec.chat_template) {
    experts.insert(experts.begin(), reference);
    set_chat_template(*spec.chat_template, experts, spec.reading(), plan.small);
  }
}

}  // namespace

void check_method(const MergeSpec& spec, const MergeMethod& call) {
  const Method& method = method_called(call.name);
  const MethodCard& card = method.card;
  const auto experts = static_cast<int64_t>(spec.experts.size());
  check_mergeable(card);
  if (experts < card.min_experts || experts > card.max_experts) {
    throw ConfigError("method '" + call.name + "' takes " + number_text(card.min_experts) +
                      (card.max_experts == card.min_experts ? "" : " or more") +
                      (card.max_experts == 1 ? " expert" : " experts") + ", but " + number_text(experts) +
                      " were given");
  }
  if (card.needs.contains(Need::kPretrained) && !spec.base) {
    throw ConfigError("method '" + call.name +
                      "' works on task vectors, so it needs the base: add --base DIR");
  }
  if (call.parts.empty()) {
    check_parameters(spec, call.name, call.parameters, experts);
    return;
  }
  FUSEGRID_ASSERT(spec.precision == MergePrecision::kCompat,
                  "other methods may look at all tensors together");
  for (const MergePart& part : call.parts) {
    check_parameters(spec, call.name, part.parameters,
                     part.experts.empty() ? experts : static_cast<int64_t>(part.experts.size()));
  }
}

std::string dtype_name(at::ScalarType dtype) {
  static const std::map<at::ScalarType, std::string> known_names{
      {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}, {at::kFloat, "float32"}, {at::kDouble, "float64"}};
  const auto name = known_names.find(dtype);
  return name == known_names.end() ? at::toString(dtype) : name->second;
}

void set_dtype(nlohmann::json& config, at::ScalarType dtype) {
  for (const std::string key : {"torch_dtype", "dtype"}) {
    if (config.contains(key)) {
      config[key] = dtype_name(dtype);
    }
  }
}

MergePlan plan_merge(const MergeSpec& spec, const LocalInputs* local) {
  MergePlan plan;
  plan.spec = spec;
  if (spec.reduction != Reduce::kOrdered) {
    check_linear_reduction(spec);
  }
  bool with_base = false;
  for (const MergeMethod& call : spec.methods) {
    check_method(spec, call);
    with_base |= method_registry().at(call.name).card.needs.contains(Need::kPretrained);
  }
  check_output_folder(spec.out, spec.is_component);
  plan.outputs = plan_outputs(spec);
  plan.inputs = open_inputs(spec, local);
  plan.notes = plan.inputs.notes;
  plan_small_files(plan);
  plan.models = plan.inputs.models(with_base, spec.dtype);
  if (spec.precision == MergePrecision::kCompat) {
    set_rounding(plan);
  }
  plan.layout = output_layout(
      tensors_of_result(plan),
      plan.inputs.has_weight_files ? spec.shard_bytes : spec.shard_bytes.value_or(kMadeFileBytes),
      plan.inputs.folder, spec.reading());
  plan.passes = rehearse(plan).passes;
  for (const ModelSource* source : plan.models.sources()) {
    for (const TensorInfo& info : source->tensors()) {
      plan.read_bytes += is_merged(info) ? tensor_bytes(info) : 0;
    }
  }
  plan.write_bytes = plan.layout.bytes() * static_cast<int64_t>(plan.outputs.size());
  plan.memory_bytes =
      stream_buffers(
          plan.models, plan.outputs.size(),
          {.memory_limit_bytes = spec.memory_limit_bytes, .threads = spec.threads, .device = spec.device})
          .total_bytes;
  check_free_space(spec.out, plan.write_bytes);
  plan.identity = identity_of(plan);
  plan.unfinished = check_unfinished(spec.out, plan.identity);
  return plan;
}

}  // namespace fusegrid
