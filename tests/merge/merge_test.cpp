#include "merge/merge.h"

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstring>

#include <ATen/ops/isnan.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "checkpoint/lora_expert.h"
#include "comm/agreement.h"
#include "core/concatenate.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/engines/stream_engine.h"
#include "fusion/fusion_input.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"
#include "merge/piece_digests.h"
#include "support/source_folder.h"

namespace fusegrid {
namespace {

// Reads as another source, until it fails.
class FailingSource final : public ModelSource {
 public:
  FailingSource(const ModelSource& inner, int64_t good_reads) : inner_(inner), good_reads_(good_reads) {}
  std::string name() const override { return inner_.name(); }
  const std::vector<TensorInfo>& tensors() const override { return inner_.tensors(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    if (--good_reads_ < 0) {
      throw IoError("cannot read '" + inner_.name() + "': a test says so");
    }
    inner_.read_range(name, begin, count, destination);
  }
  void check_unchanged() const override {}

 private:
  const ModelSource& inner_;
  mutable std::atomic<int64_t> good_reads_;
};

// No file may become larger, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

const std::vector<std::string> kSweep{"task_arithmetic{scale=0.3}",
                                      "task_arithmetic{scale=0.4}",
                                      "ties{density=0.2}",
                                      "ties{density=0.5}",
                                      "mlerp",
                                      "emr"};

TEST(Merge, many_configurations_read_the_models_once_a_pass_and_give_the_bits_of_each_alone) {
  const Checkpoints models(3, at::kBFloat16);
  const MergeReport together = merge(models.spec(kSweep, "sweep"), 2);
  int64_t most_passes = 0;
  for (size_t i = 0; i < kSweep.size(); ++i) {
    const std::string out = "alone" + std::to_string(i);
    const MergeReport alone = merge(models.spec({kSweep[i]}, out), 3);
    most_passes = std::max(most_passes, alone.passes);
    const MergeOutput first = [&] {
      const MergePlan plan = plan_merge(models.spec(kSweep, "again"));
      return *std::find_if(plan.outputs.begin(), plan.outputs.end(),
                           [&](const auto& o) { return o.method == i; });
    }();
    const std::string below = first.task;  // EMR: one folder per task
    EXPECT_EQ(folder_digest(models.folder / "sweep" / first.folder),
              folder_digest(models.folder / out / below));
  }
  EXPECT_EQ(together.passes, most_passes);
  const MergePlan plan = plan_merge(models.spec(kSweep, "planned"));
  EXPECT_EQ(plan.passes, together.passes);
  // TIES looks twice at a sample, which is a half of so small models
  EXPECT_NEAR(static_cast<double>(together.bytes_read),
              static_cast<double>((together.passes + 1) * plan.read_bytes), 2 * 4 * 2 * kSampleRun);
  EXPECT_EQ(together.bytes_written + 8 * int64_t{40}, plan.write_bytes);  // 8 models of 40 bytes of integers
}

TEST(Merge, memory_does_not_grow_with_the_size_of_the_models_and_stays_below_the_limit) {
  const Checkpoints few(2, at::kBFloat16);
  const Checkpoints many(12, at::kBFloat16);
  MergeSpec spec = few.spec({"task_arithmetic"});
  spec.memory_limit_bytes = int64_t{32} << 20;
  EXPECT_LE(merge(spec, 2).buffer_bytes, spec.memory_limit_bytes);
  spec = many.spec({"task_arithmetic"});
  spec.memory_limit_bytes = int64_t{32} << 20;
  EXPECT_LE(merge(spec, 2).buffer_bytes, spec.memory_limit_bytes);

  spec.out = many.folder / "other";
  const MergePlan plan = plan_merge(spec);
  StreamModels models = plan.models;
  models.tensors.front().shape = {1 << 11, 1 << 10};
  const int64_t before = stream_buffers(models, 1, {}).total_bytes;
  models.tensors.front().shape = {1 << 20, 1 << 20};
  EXPECT_EQ(stream_buffers(models, 1, {}).total_bytes, before);
  EXPECT_THROW(stream_buffers(models, 1, {.memory_limit_bytes = 1 << 20}), ConfigError);
}

TEST(Merge, continues_behind_the_last_finished_file) {
  const Checkpoints models(2, at::kBFloat16);
  MergeSpec spec = models.spec({"task_arithmetic"}, "whole");
  spec.shard_bytes = 400;  // a file per tensor
  merge(spec, 1);
  spec.out = models.folder / "interrupted";
  const auto die_half_way = [](double share) {
    if (share > 0.6) {
      throw std::runtime_error("killed");
    }
  };
  EXPECT_THROW(merge(spec, 1, die_half_way), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(spec.out));
  const MergeReport report = merge(spec, 3);
  EXPECT_GT(report.continued_files, 0U);
  spec.out = models.folder / "planned";
  EXPECT_LT(report.bytes_read, plan_merge(spec).read_bytes);
  spec.out = models.folder / "interrupted";
  EXPECT_EQ(folder_digest(spec.out), folder_digest(models.folder / "whole"));
  EXPECT_EQ(read_text(spec.out / "model.safetensors.index.json"),
            read_text(models.folder / "whole" / "model.safetensors.index.json"));
  EXPECT_TRUE(verify_merged(spec.out).front().differences.empty());
}

TEST(Merge, of_other_parameters_does_not_continue) {
  const Checkpoints models(2, at::kFloat);
  const auto die = [](double) { throw std::runtime_error("killed"); };
  EXPECT_THROW(merge(models.spec({"task_arithmetic"}), 1, die), std::runtime_error);
  const std::string message =
      message_of<ConfigError>([&] { merge(models.spec({"task_arithmetic{scale=1}"}), 1); });
  EXPECT_NE(message.find("unfinished merge of other inputs"), std::string::npos) << message;
}

TEST(Merge, a_full_disk_ends_all_ranks_with_the_message_and_the_same_command_goes_on) {
  const Checkpoints models(2, at::kFloat);
  const MergeSpec spec = models.spec({"simple_average"});
  {
    const FileSizeLimit full(300 << 10);
    const std::string message = message_of<AgreedError>([&] { merge(spec, 3); });
    EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
  }
  merge(spec, 2);
  EXPECT_EQ(folder_digest(spec.out), digest(models.zoo.fuse("simple_average").weights));
}

TEST(Merge, an_expert_that_one_rank_cannot_read_ends_all_ranks_with_its_message) {
  const Checkpoints models(2, at::kFloat);
  const MergeSpec spec = models.spec({"ties"});
  const std::string message = message_of<AgreedError>([&] {
    on_ranks(3, [&](Collectives& group) {
      MergePlan plan = plan_merge(spec);
      const FailingSource failing(*plan.inputs.experts[1], 4);
      if (group.rank() == 1) {
        plan.models.experts[1] = &failing;
      }
      run_merge(plan, group, {}, [](double) {});
    });
  });
  EXPECT_NE(message.find("rank 1: cannot read"), std::string::npos) << message;
}

TEST(Merge, a_file_that_changes_while_it_is_read_is_noticed) {
  const Checkpoints models(2, at::kFloat);
  const auto file = models.folder / "expert1" / "model.safetensors";
  const auto touch = [&](double) {
    std::filesystem::last_write_time(file,
                                     std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  };
  const std::string message =
      message_of<AgreedError>([&] { merge(models.spec({"task_arithmetic"}), 1, touch); });
  EXPECT_NE(message.find("must not change"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(models.folder / "out"));
}

TEST(Merge, writes_a_folder_like_the_base_with_a_manifest_that_verifies) {
  const Checkpoints models(2, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.dtype = at::kBFloat16;
  merge(spec, 2);
  const HfFolder merged(spec.out);
  EXPECT_EQ(merged.config().at("torch_dtype"), "bfloat16");
  EXPECT_EQ(merged.info("norm").dtype, at::kBFloat16);
  EXPECT_EQ(merged.info("position_ids").dtype, at::kLong);
  EXPECT_EQ(read_text(spec.out / "tokenizer.json"), "{}");
  EXPECT_FALSE(std::filesystem::exists(spec.out.string() + ".partial"));

  const auto manifest = nlohmann::json::parse(read_text(spec.out / kManifestFile));
  EXPECT_EQ(manifest.at("parameters").at("scale"), "0.3");
  EXPECT_EQ(manifest.at("inputs").size(), 3U);
  const HfFolder expert(models.folder / "expert1");
  for (const TensorInfo& info : expert.tensors()) {
    EXPECT_EQ(manifest.at("inputs").at(2).at("tensors").at(info.name), piecewise_digest(expert, info))
        << info.name;
  }
  ASSERT_EQ(verify_merged(spec.out).size(), 1U);
  EXPECT_EQ(verify_merged(spec.out).front().tensors, merged.tensors().size());
  EXPECT_TRUE(verify_merged(spec.out).front().differences.empty());

  const auto index = nlohmann::json::parse(read_text(spec.out / "model.safetensors.index.json"));
  const std::string name = index.at("weight_map").at("norm");
  std::fstream file(spec.out / name, std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(file);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  EXPECT_EQ(verify_merged(spec.out).front().differences.size(), 1U);
}

TEST(Merge, keeps_the_files_of_the_base) {
  const Checkpoints models(2, at::kFloat);
  merge(models.spec({"simple_average"}, "base2"), 1);  // in several files
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.base = models.folder / "base2";
  spec.shard_bytes.reset();
  merge(spec, 2);
  EXPECT_EQ(read_text(spec.out / "model.safetensors.index.json"),
            read_text(models.folder / "base2" / "model.safetensors.index.json"));
}

TEST(Merge, one_file_needs_no_index_whatever_the_base_calls_it) {
  const Checkpoints models(2, at::kFloat);
  const std::filesystem::path base = models.folder / "base";
  const std::string only = "model-00001-of-00001.safetensors";
  nlohmann::json places;
  const HfFolder whole(base);
  for (const TensorInfo& info : whole.tensors()) {
    places[info.name] = only;
  }
  std::filesystem::rename(base / "model.safetensors", base / only);
  write_text(base / "model.safetensors.index.json", nlohmann::json{{"weight_map", places}}.dump());
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.shard_bytes.reset();
  merge(spec, 1);
  EXPECT_EQ(HfFolder(spec.out).tensors().size(), places.size());
  EXPECT_TRUE(std::filesystem::exists(spec.out / "model.safetensors"));
  EXPECT_TRUE(verify_merged(spec.out).front().differences.empty());
}

TEST(Merge, takes_an_adapter_as_the_model_that_it_makes) {
  const TemporaryFolder folder;
  const std::filesystem::path golden = source_folder() / "tests/golden/lora";
  MergeSpec spec;
  spec.base = golden / "base";
  spec.experts = {{"linear", golden / "linear"}};
  spec.methods = {{"simple_average", {}}};
  spec.out = folder / "out";
  spec.dtype = at::kFloat;
  merge(spec, 2);
  const HfFolder base(golden / "base");
  const LoraExpert expert(golden / "linear", base);
  const HfFolder merged(spec.out);
  for (const TensorInfo& info : expert.tensors()) {
    at::Tensor effective = at::empty(info.shape, info.dtype);
    expert.read_range(info.name, 0, info.numel(), effective.mutable_data_ptr());
    EXPECT_TRUE(merged.read(info.name).equal(effective.to(at::kFloat))) << info.name;
  }
}

// Methods see the factors of adapters wherever the models are: the bits are those of models in memory.
TEST(Merge, shows_the_factors_of_adapters_to_methods) {
  const TemporaryFolder folder;
  const std::filesystem::path golden = source_folder() / "tests/golden/lora";
  MergeSpec spec;
  spec.base = golden / "base";
  spec.experts = {{"linear", golden / "linear"}, {"patterns", golden / "patterns"}};
  spec.methods = {{"knots", {{"scale", "1"}, {"density", "1"}}}};
  spec.dtype = at::kFloat;

  const HfFolder base_folder(golden / "base");
  const Weights base = base_folder.read_all();
  std::vector<Weights> experts;
  std::vector<FactorsByName> factors;
  for (const MergeExpert& given : spec.experts) {
    const LoraExpert expert(given.path, base_folder);
    experts.emplace_back();
    factors.emplace_back();
    for (const TensorInfo& info : expert.tensors()) {
      at::Tensor& values = experts.back()[info.name] = at::empty(info.shape, info.dtype);
      expert.read_range(info.name, 0, info.numel(), values.mutable_data_ptr());
      if (const auto of_tensor = expert.factors(info.name)) {
        factors.back().emplace(info.name, *of_tensor);
      }
    }
  }
  const auto in_memory = [&](const std::vector<const FactorsByName*>& known) {
    StatisticsCache cache(0, "", at::kCPU);
    MemoryEngine engine(
        base, {&experts[0], &experts[1]}, "models", cache, [] {}, known);
    const Method& method = method_registry().at("knots");
    const FusionContext context = streamed_context(method, engine, cache, {"linear", "patterns"}, 0);
    return method.fuse(FusionInput(context), spec.methods[0].parameters).predictor->weights();
  };
  const Weights expected = in_memory({&factors[0], &factors[1]});
  EXPECT_NE(digest(expected), digest(in_memory({}))) << "differences of weights are rounded";
  for (const int ranks : {1, 3}) {
    spec.out = folder / std::to_string(ranks);
    merge(spec, ranks);
    const HfFolder merged(spec.out);
    for (const auto& [name, tensor] : expected) {
      EXPECT_TRUE(merged.read(name).equal(tensor)) << name;
    }
  }
}

TEST(Plan, refuses_what_cannot_be_merged_before_reading) {
  Checkpoints models(2, at::kFloat);
  const auto refusal = [&](const MergeSpec& spec) {
    return message_of<ConfigError>([&] { plan_merge(spec); });
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  const MergeSpec good = models.spec({"task_arithmetic"});
  const auto with_expert = [&](Weights weights) {
    models.add("other", weights, at::kFloat);
    MergeSpec spec = good;
    spec.experts[1] = {"other", models.folder / "other"};
    return spec;
  };
  const auto forget = [&] { std::filesystem::remove_all(models.folder / "other"); };

  Weights fewer = models.zoo.experts[0];
  fewer.erase("norm");
  expect(refusal(with_expert(fewer)), "lacks norm");
  forget();
  Weights more = models.zoo.experts[0];
  more["lm_head.weight"] = more.at("norm");
  expect(refusal(with_expert(more)), "tied embeddings");
  forget();
  Weights reshaped = models.zoo.experts[0];
  reshaped["norm"] = reshaped.at("norm").view({256, 256});
  expect(refusal(with_expert(reshaped)), "must have one shape");
  forget();
  Weights whole = models.zoo.experts[0];
  whole["norm"] = whole.at("norm").to(at::kLong);
  expect(refusal(with_expert(whole)), "quantised");
  forget();

  MergeSpec spec = good;
  spec.experts[1].path = spec.experts[0].path;
  expect(refusal(spec), "must be given once");
  spec = good;
  spec.experts[1].name = spec.experts[0].name;
  expect(refusal(spec), "names of their own");
  spec = good;
  spec.base.reset();
  expect(refusal(spec), "--base");
  expect(refusal(models.spec({"wemoe"})), "needs");
  expect(refusal(models.spec({"regmean"})), "train inputs");
  expect(refusal(models.spec({"simple_ensemble"})), "one of:");
  expect(refusal(models.spec({"ties{densty=1}"})), "densty");
  expect(refusal(models.spec({"ties", "ties{density=0.2}"})), "given twice");
  std::filesystem::create_directories(models.folder / "out" / "sub");
  expect(refusal(good), "new folder");
}

TEST(Plan, refuses_shapes_and_says_what_a_vocabulary_mismatch_would_do) {
  Checkpoints models(2, at::kBFloat16);
  Weights longer = models.zoo.experts[0];
  longer["embed.weight"] =
      concatenate({longer.at("embed.weight"), longer.at("embed.weight").narrow(0, 0, 3)});
  models.add("longer", longer, at::kBFloat16);
  Weights shorter = models.zoo.experts[1];
  shorter["embed.weight"] = shorter.at("embed.weight").narrow(0, 0, 690);
  models.add("shorter", shorter, at::kFloat);  // and of another dtype
  MergeSpec spec = models.spec({"task_arithmetic{scale=1}"});
  spec.experts[0].path = models.folder / "longer";
  spec.experts[1].path = models.folder / "shorter";
  const std::string message = message_of<ConfigError>([&] { plan_merge(spec); });
  EXPECT_NE(message.find("leaves out the expert's other 3"), std::string::npos) << message;

  spec.allow_vocabulary_mismatch = true;
  spec.dtype = at::kFloat;
  merge(spec, 2);
  const at::Tensor base = models.zoo.base.at("embed.weight");
  at::Tensor second = models.zoo.experts[1].at("embed.weight").clone();
  second.narrow(0, 690, 10).copy_(base.narrow(0, 690, 10));
  const at::Tensor expected = base + ((models.zoo.experts[0].at("embed.weight") - base) + (second - base));
  EXPECT_TRUE(HfFolder(spec.out).read("embed.weight").equal(expected));
}

}  // namespace
}  // namespace fusegrid
