// One rank of the tests of merging under mpirun: merge_program FOLDER OUT [kill|unreadable|local|lost]. The first rank
// makes the checkpoints in FOLDER where they are missing. "kill": rank 1 kills itself when a part of the work is done,
// while the others wait for it in a collective call. "unreadable": rank 1 alone cannot read the second expert. "local":
// expert i is on rank i modulo the number of ranks, as if FOLDER were a disk of its own on each. "lost": so, but the
// second expert ends early, which is noticed when another rank asks for it.
#include <csignal>
#include <filesystem>
#include <iostream>

#include <ATen/ops/empty.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_folder.h"
#include "comm/agreement.h"
#include "comm/transport.h"
#include "core/errors.h"
#include "core/philox.h"
#include "merge/merge.h"

namespace fusegrid {
namespace {

constexpr size_t kExperts = 3;

constexpr int kLayers = 26;  // more files than three ranks make side by side

// The last expert is an adapter.
void make_checkpoints(const std::filesystem::path& folder) {
  for (size_t model = 0; model < kExperts; ++model) {
    Weights weights;
    uint64_t stream = 0;
    for (int layer = 0; layer < kLayers; ++layer) {
      weights["layers." + std::to_string(layer) + ".weight"] =
          normal(model, stream++, 0, 200'000).view({200, 1'000}).to(at::kBFloat16);
    }
    save_hf_folder(folder / std::to_string(model), weights, {{"model_type", "test"}});
  }
  LoraAdapter adapter{.factors = {}, .targets = {"layers"}, .task_type = "FEATURE_EXTRACTION"};
  uint64_t stream = 0;
  for (int layer = 0; layer < kLayers; ++layer) {
    adapter.factors["layers." + std::to_string(layer) + ".weight"] = {
        normal(kExperts, stream++, 0, 200 * 4).view({200, 4}),
        normal(kExperts, stream++, 0, 4 * 1'000).view({4, 1'000}), 0.5};
  }
  save_lora_folder(folder / std::to_string(kExperts), adapter, "../0");
}

class Unreadable final : public ModelSource {
 public:
  explicit Unreadable(const ModelSource& inner) : inner_(inner) {}
  std::string name() const override { return inner_.name(); }
  const std::vector<TensorInfo>& tensors() const override { return inner_.tensors(); }
  void read_range(const std::string&, int64_t, int64_t, void*) const override {
    throw IoError("cannot read '" + inner_.name() + "': a test says so");
  }
  void check_unchanged() const override {}

 private:
  const ModelSource& inner_;
};

MergeSpec spec_of(const std::filesystem::path& folder, const std::string& out) {
  MergeSpec spec;
  spec.base = folder / "0";
  for (size_t model = 1; model <= kExperts; ++model) {
    spec.experts.push_back({std::to_string(model), folder / std::to_string(model)});
  }
  spec.methods = {{"ties", {}}, {"task_arithmetic", {}}, {"knots", {}}};  // the last sees factors
  spec.out = out;
  spec.shard_bytes = 400'000;  // a file for each tensor
  return spec;
}

// The folder that stands for this rank's disk: the base, and every size-th expert.
std::filesystem::path make_disk(const std::filesystem::path& folder, const Collectives& group) {
  const auto disk = folder / ("disk" + std::to_string(group.rank()));
  std::filesystem::remove_all(disk);
  std::filesystem::create_directories(disk);
  for (size_t model = 0; model <= kExperts; ++model) {
    if (model == 0 || model % static_cast<size_t>(group.size()) == static_cast<size_t>(group.rank())) {
      std::filesystem::create_directory_symlink(folder / std::to_string(model), disk / std::to_string(model));
    }
  }
  return disk;
}

MergeReport merge(const MergeSpec& spec, Collectives& group, const std::string& mode,
                  const LocalInputs* local) {
  const bool here = group.rank() == 1;
  MergePlan plan = plan_merge(spec, local);
  const Unreadable unreadable(*plan.inputs.experts[1]);
  if (mode == "unreadable" && here) {
    plan.models.experts[1] = &unreadable;
  }
  return run_merge(plan, group, {}, [&](double share) {
    if (mode == "kill" && here && share > 0.95) {  // behind the files that are made side by side
      ::raise(SIGKILL);
    }
  });
}

MergeReport merge_local(const std::filesystem::path& folder, const std::string& out, Collectives& group,
                        const std::string& mode) {
  const MergeSpec spec = spec_of(make_disk(folder, group), out);
  LocalInputs local(spec, group);
  if (mode == "lost" && group.rank() == 0) {
    std::filesystem::resize_file(folder / "2" / "model.safetensors", 10'000);
  }
  group.barrier();
  try {
    MergeReport report = merge(spec, group, mode, &local);
    local.finish();
    return report;
  } catch (const AgreedError&) {
    local.finish();
    throw;
  }
}

int run(const std::vector<std::string>& args) {
  const std::filesystem::path folder = args.at(1);
  const std::string mode = args.size() > 3 ? args[3] : "";
  const auto group = mpi_collectives(0);
  if (group->rank() == 0 && !std::filesystem::exists(folder / "0")) {
    make_checkpoints(folder);
  }
  group->barrier();
  const MergeReport report = mode == "local" || mode == "lost"
                                 ? merge_local(folder, args.at(2), *group, mode)
                                 : merge(spec_of(folder, args.at(2)), *group, mode, nullptr);
  if (group->rank() == 0) {
    std::cout << report.continued_files << " files were finished before\n";
  }
  return 0;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  const auto transport = fusegrid::mpi_transport(&argc, &argv);
  try {
    return fusegrid::run({argv, argv + argc});
  } catch (const std::exception& error) {
    // in one piece: ranks share the terminal
    std::cerr << "rank " + std::to_string(transport->rank()) + ": " + error.what() + "\n";
    return 1;
  }
}
