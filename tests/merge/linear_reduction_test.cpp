#include "merge/linear_reduction.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"
#include "support/golden.h"

namespace fusegrid {
namespace {

const std::vector<std::string> kCalls{"simple_average", "weighted_average{weights=0.5:0.3:0.7}",
                                      "task_arithmetic{scale=0.4}",
                                      "task_arithmetic{scale=0.4,weights=1:-0.5:0.25}"};

MergeSpec spec_of(const Checkpoints& models, const std::string& call, const std::string& out) {
  MergeSpec spec = models.spec({call}, out);
  spec.reduction = Reduce::kAllReduce;
  return spec;
}

TEST(LinearReduction, gives_the_merge_of_memory) {
  const Checkpoints models(3, at::kFloat);
  for (const std::string& call : kCalls) {
    const MergeSpec spec = spec_of(models, call, "out");
    merge(spec, 2);
    Weights merged = HfFolder(spec.out).read_all();
    const Weights expected = models.zoo.fuse(call).weights;
    EXPECT_TRUE(merged.at("position_ids").equal(expected.at("position_ids")));
    for (const char* whole : {"position_ids", "empty"}) {
      merged.erase(whole);
    }
    Weights floating = expected;
    floating.erase("position_ids");
    floating.erase("empty");
    expect_close(merged, floating, 3e-8);
    std::filesystem::remove_all(spec.out);
  }
}

TEST(LinearReduction, in_fixed_point_has_the_same_bits_for_any_number_of_ranks) {
  const Checkpoints models(3, at::kFloat);
  std::set<std::string> digests;
  for (const int ranks : {1, 2, 3, 5}) {
    const MergeSpec spec = spec_of(models, kCalls[3], "out" + std::to_string(ranks));
    merge(spec, ranks);
    digests.insert(folder_digest(spec.out));
  }
  EXPECT_EQ(digests.size(), 1U);
}

TEST(LinearReduction, writes_digests_and_says_how_it_added) {
  const Checkpoints models(2, at::kBFloat16);
  const MergeSpec spec = spec_of(models, "task_arithmetic", "out");
  const MergeReport report = merge(spec, 3);
  EXPECT_TRUE(verify_merged(spec.out).front().differences.empty());
  const auto manifest = nlohmann::json::parse(read_text(spec.out / kManifestFile));
  EXPECT_NE(manifest.at("arithmetic").get<std::string>().find("fixed point"), std::string::npos);
  MergeSpec ordered = models.spec({"task_arithmetic"}, "ordered");
  merge(ordered, 2);
  const auto other = nlohmann::json::parse(read_text(ordered.out / kManifestFile));
  EXPECT_EQ(manifest.at("inputs"), other.at("inputs"));  // every byte of every model was seen once
  EXPECT_EQ(report.bytes_read, plan_merge(models.spec({"task_arithmetic"}, "planned")).read_bytes);
}

TEST(LinearReduction, many_configurations_and_a_continued_merge) {
  const Checkpoints models(2, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic{scale=0.1}", "task_arithmetic{scale=0.2}"});
  spec.reduction = Reduce::kAllReduce;
  const auto die = [](double share) {
    if (share > 0.4) {
      throw std::runtime_error("killed");
    }
  };
  EXPECT_THROW(merge(spec, 2, die), std::runtime_error);
  EXPECT_GT(merge(spec, 3).continued_files, 0U);
  for (const std::string scale : {"0.1", "0.2"}) {
    const std::string call = "task_arithmetic{scale=" + scale + "}";
    const MergeSpec alone = spec_of(models, call, "alone" + scale);
    merge(alone, 1);
    EXPECT_EQ(folder_digest(spec.out / ("task_arithmetic-scale=" + scale)), folder_digest(alone.out));
  }
}

TEST(LinearReduction, what_one_rank_finds_wrong_ends_all) {
  Checkpoints models(3, at::kFloat);
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), 3e6F}) {
    Weights broken = models.zoo.experts[1];
    broken["norm"] = broken.at("norm").clone();
    broken.at("norm")[70] = wrong;
    std::filesystem::remove_all(models.folder / "broken");
    models.add("broken", broken, at::kFloat);
    MergeSpec spec = spec_of(models, "simple_average", "out");
    spec.experts[1] = {"broken", models.folder / "broken"};
    const std::string message = message_of<AgreedError>([&] { merge(spec, 3); });
    EXPECT_NE(message.find("tensor 'norm' of"), std::string::npos) << message;
    const char* remedy = std::isnan(wrong) ? "--allow-non-finite" : "--reduction ordered";
    EXPECT_NE(message.find(remedy), std::string::npos) << message;
    std::filesystem::remove_all(spec.out.string() + ".partial");
  }
}

TEST(LinearReduction, is_refused_for_what_is_not_linear) {
  const Checkpoints models(2, at::kFloat);
  const auto refusal = [](const MergeSpec& spec) {
    return message_of<ConfigError>([&] { plan_merge(spec); });
  };
  const std::string message = refusal(spec_of(models, "ties", "out"));
  EXPECT_NE(message.find("simple_average, task_arithmetic, weighted_average"), std::string::npos) << message;
  MergeSpec spec = spec_of(models, "simple_average", "out");
  spec.precision = MergePrecision::kCompat;
  EXPECT_NE(refusal(spec).find("--precision fp32"), std::string::npos);
}

}  // namespace
}  // namespace fusegrid
