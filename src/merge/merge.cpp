#include "merge/merge.h"

#include <algorithm>
#include <chrono>

#include "checkpoint/buffers.h"
#include "checkpoint/lossless_json.h"
#include "comm/agreement.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/compat/compat.h"
#include "fusion/engines/stream_device.h"
#include "fusion/engines/stream_engine.h"
#include "fusion/method.h"
#include "merge/linear_reduction.h"
#include "merge/manifest.h"
#include "merge/outputs.h"
#include "merge/rehearsal.h"

namespace fusegrid {
namespace {

std::string config_text(const MergePlan& plan) {
  nlohmann::json config = plan.inputs.config;
  if (plan.spec.dtype) {
    set_dtype(config, *plan.spec.dtype);
  }
  return dump_lossless(config, 2) + "\n";
}

// One digest over all tensors of a model.
std::string overall(const std::map<std::string, std::string>& tensors) {
  Sha256 hash;
  for (const auto& [name, digest] : tensors) {
    hash.update(name + " " + digest + "\n");
  }
  return hash.hex();
}

nlohmann::json inputs_of(const MergePlan& plan, const MergeOutputs& outputs) {
  nlohmann::json inputs = nlohmann::json::array();
  const auto add = [&](const std::string& role, const std::string& name, size_t stamp, int64_t source) {
    nlohmann::json entry = {{"role", role}, {"name", name}, {"path", plan.inputs.stamps[stamp].at("path")}};
    if (plan.spec.digests == Digests::kAll && source >= 0) {
      const auto tensors = outputs.input_digests(static_cast<size_t>(source));
      entry["tensors"] = tensors;
      entry["sha256"] = overall(tensors);
    }
    inputs.push_back(std::move(entry));
  };
  const bool base_is_read = plan.models.base != nullptr;
  if (plan.inputs.base) {
    add("base", "", 0, base_is_read ? 0 : -1);
  }
  for (size_t i = 0; i < plan.spec.experts.size(); ++i) {
    add("expert", plan.spec.experts[i].name, i + (plan.inputs.base ? 1 : 0),
        static_cast<int64_t>(i) + (base_is_read ? 1 : 0));
  }
  return inputs;
}

std::string arithmetic_of(const MergeSpec& spec, const MergeMethod& call) {
  if (spec.reduction == Reduce::kAllReduce) {
    return "fixed point of 2^-40, rounded to float32 and to the output's dtype";
  }
  if (spec.precision == MergePrecision::kFloat32) {
    return "float32, rounded once to the output's dtype";
  }
  const CompatMethod& compat = compat_registry().at(call.name);
  return "mergekit 0.1.5, " + compat.original + ": " + compat.rounding;
}

ParamText all_parameters(const MergeMethod& call, const ParamText& given) {
  return parse_call("m{" + method_registry().at(call.name).canonical(given) + "}").second;
}

nlohmann::json part_json(const MergePlan& plan, const MergeMethod& call, const MergePart& part) {
  nlohmann::json json = {{"parameters", all_parameters(call, part.parameters)}};
  for (const size_t expert : part.experts) {
    json["experts"].push_back(plan.spec.experts[expert].name);
  }
  for (const TensorInfo& info : plan.models.tensors) {
    if (part.tensors.contains(info.name)) {
      json["tensors"].push_back(info.name);
    }
  }
  return json;
}

void add_small_files(const MergePlan& plan, MergeOutputs& outputs, const nlohmann::json& provenance) {
  const nlohmann::json inputs = inputs_of(plan, outputs);
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const MergeOutput& output = plan.outputs[i];
    const MergeMethod& call = plan.spec.methods[output.method];
    for (const auto& [name, from] : plan.small.files) {
      if (!plan.small.made.contains(name)) {
        outputs.copy_file(i, name, from);
      }
    }
    for (const auto& [name, content] : plan.small.made) {
      outputs.add_file(i, name, content);
    }
    outputs.add_file(i, "config.json", config_text(plan));
    if (plan.layout.shards.size() > 1) {
      outputs.add_file(i, plan.layout.index_file, plan.layout.index().dump(2) + "\n");
    }
    nlohmann::json manifest = {{"format", 1},
                               {"method", call.name},
                               {"seed", plan.spec.seed},
                               {"arithmetic", arithmetic_of(plan.spec, call)},
                               {"digest", "sha256 over the sha256 of consecutive pieces of " +
                                              std::to_string(kDigestElements) + " elements"},
                               {"inputs", inputs},
                               {"identity", sha256_hex(plan.identity)},
                               {"made_by", provenance}};
    if (call.parts.empty()) {
      manifest["parameters"] = all_parameters(call, call.parameters);
    }
    for (const MergePart& part : call.parts) {
      manifest["parts"].push_back(part_json(plan, call, part));
    }
    if (plan.inputs.tokens) {
      manifest["vocabulary"] = {{"tokenizer", plan.inputs.tokens->folder.string()},
                                {"tokens", plan.inputs.tokens->tokens.size()},
                                {"rows", plan.inputs.tokens->rows}};
    }
    if (!output.task.empty()) {
      manifest["task"] = output.task;
    }
    if (plan.spec.digests != Digests::kNone) {
      const auto tensors = outputs.output_digests(i);
      manifest["tensors"] = tensors;
      manifest["sha256"] = overall(tensors);
    }
    if (const auto non_finite = outputs.output_non_finite(i); !non_finite.empty()) {
      manifest["non_finite"] = non_finite;
    }
    outputs.add_file(i, kManifestFile, manifest.dump(1) + "\n");
  }
}

// The tensors with their counts, "'a.weight' (3 of 16), 'b.weight' (1 of 4) and 7 more".
std::string counts_text(const std::map<std::string, int64_t>& counts,
                        const std::map<std::string, int64_t>& sizes) {
  constexpr size_t kShown = 4;
  std::vector<std::string> all;
  for (const auto& [name, count] : counts) {
    all.push_back("'" + name + "' (" + number_text(count) + " of " + number_text(sizes.at(name)) + ")");
  }
  return some_names(all, kShown);
}

// What is not finite in the models, and what is in the models but not in the results.
std::vector<std::string> notes_of(const MergePlan& plan, const MergeOutputs& outputs) {
  std::map<std::string, int64_t> sizes;
  for (const TensorInfo& info : plan.models.tensors) {
    sizes.emplace(info.name, info.numel());
  }
  std::vector<std::string> notes;
  std::set<std::string> given;
  const auto sources = plan.models.sources();
  for (size_t source = 0; source < sources.size(); ++source) {
    const auto counts = outputs.input_non_finite(source);
    for (const auto& [name, count] : counts) {
      given.insert(name);
    }
    if (!counts.empty()) {
      notes.push_back("'" + sources[source]->name() + "' has entries that are NaN or infinite in " +
                      counts_text(counts, sizes) + "; so are these entries of the result");
    }
  }
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    auto counts = outputs.output_non_finite(i);
    std::erase_if(counts, [&](const auto& entry) { return given.contains(entry.first); });
    if (!counts.empty()) {
      notes.push_back("'" + (plan.spec.out / plan.outputs[i].folder).string() +
                      "' overflows: though all models are finite there, entries are NaN or infinite in " +
                      counts_text(counts, sizes) +
                      "; choose a --dtype of a larger range, or smaller coefficients");
    }
  }
  return notes;
}

// The output files are the stages; positions among the floating tensors.
std::vector<std::vector<size_t>> stages_of(const MergePlan& plan) {
  std::map<std::string, size_t> position;
  for (const TensorInfo& info : plan.models.tensors) {
    position.emplace(info.name, position.size());
  }
  std::vector<std::vector<size_t>> stages;
  for (const MergeShard& shard : plan.layout.shards) {
    auto& stage = stages.emplace_back();
    for (const TensorInfo& info : shard.tensors) {
      if (is_merged(info)) {
        stage.push_back(position.at(info.name));
      }
    }
  }
  return stages;
}

// Where several passes read the models, what they read stays on the device. The rest of its memory is for the
// arithmetic.
int64_t bytes_to_keep(const MergePlan& plan) {
  if (plan.spec.device.is_cpu() || plan.passes == 1) {
    return 0;
  }
  const int64_t most = free_memory(plan.spec.device) / 10 * 6;
  return std::min(plan.spec.keep_bytes.value_or(most), most);
}

MergeOutputs::Setup setup_of(const MergePlan& plan) {
  MergeOutputs::Setup setup;
  setup.out = plan.spec.out;
  for (const MergeOutput& output : plan.outputs) {
    setup.folders.push_back(output.folder);
  }
  setup.identity = plan.identity;
  setup.layout = plan.layout;
  setup.tensors = plan.models.tensors;
  setup.sources = plan.models.sources();
  setup.reference = &plan.inputs.reference();
  setup.digests = plan.spec.digests;
  setup.allow_non_finite = plan.spec.allow_non_finite;
  return setup;
}

StreamStats make_outputs(const MergePlan& plan, const StreamLayout& layout, Collectives& group,
                         StreamSink& outputs, const std::function<void(double share)>& progress) {
  if (plan.spec.reduction != Reduce::kOrdered) {
    return reduce_linear(plan, layout, group, outputs, progress);
  }
  StreamSession session(plan.models, layout, group, outputs,
                        {.memory_limit_bytes = plan.spec.memory_limit_bytes,
                         .threads = plan.spec.threads,
                         .device = plan.spec.device,
                         .keep_bytes = bytes_to_keep(plan),
                         .progress = progress});
  session.run(configurations_of(plan));
  return session.stats();
}

}  // namespace

MergeReport run_merge(const MergePlan& plan, Collectives& group, const nlohmann::json& provenance,
                      const std::function<void(double share)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  group.barrier();  // until every rank has its plan: a plan looks at what is there, and now things appear
  MergeOutputs outputs(setup_of(plan), group);
  const StreamLayout layout(plan.models.tensors, stages_of(plan), group.size(),
                            slice_elements(plan.spec.device));
  const StreamStats mine = make_outputs(plan, layout, group, outputs, progress);
  MergeReport report{.passes = mine.passes, .continued_files = outputs.continued()};
  on_all_ranks(group, [&] {
    if (group.rank() == 0) {
      report.notes = notes_of(plan, outputs);
      add_small_files(plan, outputs, provenance);
      outputs.publish();
    }
  });

  const std::vector<double> numbers{static_cast<double>(mine.bytes_read),
                                    static_cast<double>(mine.bytes_written),
                                    static_cast<double>(mine.buffer_bytes)};
  for (const auto& theirs : group.all_gather(numbers)) {
    report.bytes_read += static_cast<int64_t>(theirs[0]);
    report.bytes_written += static_cast<int64_t>(theirs[1]);
    report.buffer_bytes = std::max(report.buffer_bytes, static_cast<int64_t>(theirs[2]));
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace fusegrid
