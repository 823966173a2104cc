// NaN and infinity in models, and results that overflow: docs/merge_inputs.md.
#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "fusion/method.h"
#include "fusion/sharding.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"
#include "support/quick_options.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<std::string> calls() {
  std::vector<std::string> calls{"ties{dialect=mergekit}", "dare{rescale=l1}"};
  for (const std::string& name : method_registry().names()) {
    if (can_be_sharded(method_registry().at(name).card)) {
      calls.push_back(quick(name));
    }
  }
  return calls;
}

// Entries of expert `index` that are not finite, of a vector and of a matrix.
void spoil(Weights& weights, size_t index) {
  at::Tensor embedding = weights.at("embed.weight").view({-1});
  if (index == 0) {
    weights.at("norm")[7] = kNan;
    embedding[100'001] = kInf;
    embedding[100'002] = kInf;
  } else {
    weights.at("norm")[8] = -kInf;
    weights.at("layers.3.weight")[2][1] = kNan;
    embedding[100'002] = -kInf;
  }
}

// Experts as they are, and as they count: 0 in all models wherever one is not finite.
struct Spoilt {
  explicit Spoilt(size_t experts) : models(experts, at::kFloat), sound(models.zoo) {
    std::vector<Weights> spoilt;
    for (size_t i = 0; i < experts; ++i) {
      Weights& expert = spoilt.emplace_back();
      for (const auto& [name, tensor] : models.zoo.experts[i]) {
        expert[name] = tensor.clone();
      }
      spoil(expert, i);
      models.add("spoilt" + std::to_string(i), expert, at::kFloat);
    }
    for (const auto& [name, base] : models.zoo.base) {
      if (!base.is_floating_point()) {
        continue;
      }
      at::Tensor sum = at::zeros_like(base);
      for (const Weights& expert : spoilt) {
        sum = sum + at::where(expert.at(name).isfinite(), at::zeros_like(base), expert.at(name));
      }
      marks[name] = sum;
      sound.base[name] = base.masked_fill(sum.ne(0), 0);
      for (Weights& expert : sound.experts) {
        expert[name] = expert.at(name).masked_fill(sum.ne(0), 0);
      }
    }
  }
  MergeSpec spec(const std::vector<std::string>& calls) const {
    MergeSpec spec = models.spec(calls);
    for (size_t i = 0; i < spec.experts.size(); ++i) {
      spec.experts[i].path = models.folder / ("spoilt" + std::to_string(i));
    }
    return spec;
  }

  Checkpoints models;
  TestZoo sound;
  Weights marks;  // what the results have there
};

class NonFinite : public testing::TestWithParam<std::string> {
 protected:
  size_t experts() const {
    const MethodCard& card = method_registry().at(parse_call(GetParam()).first).card;
    return static_cast<size_t>(std::clamp<int64_t>(2, card.min_experts, card.max_experts));
  }
};

TEST_P(NonFinite, counts_as_zero_in_all_models_and_is_marked_in_the_result) {
  const Spoilt spoilt(experts());
  MergeSpec spec = spoilt.spec({GetParam()});
  spec.allow_non_finite = true;
  const MergeReport report = merge(spec, 2);
  EXPECT_EQ(report.notes.size(), experts());
  EXPECT_THAT(report.notes.front(), AllOf(HasSubstr("spoilt0"), HasSubstr("'embed.weight' (2 of 350000)")));
  const bool per_task =
      method_registry().at(parse_call(GetParam()).first).card.yields == Yields::kModelPerTask;
  for (const auto& [key, values] : spoilt.sound.fuse(GetParam()).weights) {
    const size_t slash = per_task ? key.find('/') : std::string::npos;
    const std::string folder = per_task ? key.substr(0, slash) : "";
    const std::string name = per_task ? key.substr(slash + 1) : key;
    if (!spoilt.marks.contains(name)) {
      continue;
    }
    const at::Tensor& marks = spoilt.marks.at(name);
    const at::Tensor got = HfFolder(spec.out / folder).read(name);
    EXPECT_TRUE(got.masked_fill(marks.ne(0), 0).equal(values.masked_fill(marks.ne(0), 0))) << key;
    EXPECT_TRUE(got.isnan().equal(marks.isnan())) << key;
    EXPECT_TRUE(got.isinf().equal(marks.isinf())) << key;
    EXPECT_TRUE(got.masked_select(got.isinf()).equal(marks.masked_select(marks.isinf()))) << key;
  }
}

TEST_P(NonFinite, is_refused_by_default_and_nothing_is_left) {
  const Spoilt spoilt(experts());
  const MergeSpec spec = spoilt.spec({GetParam()});
  const std::string message = message_of<AgreedError>([&] { merge(spec, 2); });
  EXPECT_THAT(message, AllOf(HasSubstr("2 entries of tensor 'embed.weight' of '"), HasSubstr("spoilt0"),
                             HasSubstr("--allow-non-finite")));
  EXPECT_FALSE(fs::exists(spec.out));
  EXPECT_FALSE(fs::exists(spec.out.string() + ".partial"));
}

INSTANTIATE_TEST_SUITE_P(Methods, NonFinite, testing::ValuesIn(calls()), [](const auto& one) {
  std::string name = one.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

TEST(NonFiniteMerge, methods_side_by_side_see_what_each_would_see_alone) {
  const Spoilt spoilt(2);
  MergeSpec spec = spoilt.spec({"ties", "simple_average", "slerp"});
  spec.allow_non_finite = true;
  Weights base = converted(spoilt.models.zoo.base, at::kFloat);
  base["norm"] = base.at("norm").clone();
  base.at("norm")[9] = kNan;  // which slerp and the average do not read
  save_hf_folder(spoilt.models.folder / "base2", base, {{"model_type", "test"}});
  spec.base = spoilt.models.folder / "base2";
  merge(spec, 3);
  for (const std::string method : {"simple_average", "slerp"}) {
    MergeSpec alone = spoilt.spec({method});
    alone.allow_non_finite = true;
    alone.out = spoilt.models.folder / ("alone-" + method);
    merge(alone, 1);
    EXPECT_EQ(folder_digest(spec.out / method), folder_digest(alone.out)) << method;
  }
  EXPECT_TRUE(std::isnan(HfFolder(spec.out / "ties").read("norm")[9].item<float>()));
}

TEST(NonFiniteMerge, partial_sums_of_ranks_refuse_it_too) {
  const Spoilt spoilt(2);
  MergeSpec spec = spoilt.spec({"simple_average"});
  spec.reduction = Reduce::kAllReduce;
  EXPECT_THAT(message_of<AgreedError>([&] { merge(spec, 2); }),
              AllOf(HasSubstr("'embed.weight'"), HasSubstr("spoilt0")));
  EXPECT_FALSE(fs::exists(spec.out.string() + ".partial"));
  spec.allow_non_finite = true;
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(spec); }), HasSubstr("--reduction ordered"));
}

TEST(NonFiniteMerge, float64_beyond_float32_is_not_finite) {
  Checkpoints models(2, at::kDouble);
  Weights large = converted(models.zoo.experts[0], at::kDouble);
  large.at("norm")[5] = 1e300;
  models.add("large", large, at::kDouble);
  MergeSpec spec = models.spec({"iso_c"});
  spec.experts[0].path = models.folder / "large";
  EXPECT_THAT(message_of<AgreedError>([&] { merge(spec, 1); }),
              AllOf(HasSubstr("1 entry of tensor 'norm' of '"), HasSubstr("large' is NaN or infinite")));
}

TEST(NonFiniteMerge, results_that_overflow_are_told_with_tensor_and_count) {
  Checkpoints models(2, at::kFloat);
  for (size_t i = 0; i < 2; ++i) {
    Weights large = models.zoo.experts[i];
    large["norm"] = large.at("norm").clone();
    large.at("norm").narrow(0, 0, 3).fill_(40'000);  // finite in float16, their sum is not
    models.add("large" + std::to_string(i), large, at::kHalf);
  }
  MergeSpec spec = models.spec({"task_arithmetic{scale=1}", "simple_average"});
  spec.experts[0].path = models.folder / "large0";
  spec.experts[1].path = models.folder / "large1";
  spec.dtype = at::kHalf;
  for (const int ranks : {1, 3}) {
    fs::remove_all(spec.out);
    const MergeReport report = merge(spec, ranks);
    ASSERT_EQ(report.notes.size(), 1U);
    EXPECT_THAT(report.notes[0],
                AllOf(HasSubstr("task_arithmetic-scale=1' overflows"), HasSubstr("'norm' (3 of 65536)")));
    EXPECT_TRUE(verify_merged(spec.out).front().differences.empty());
  }
}

TEST(NonFiniteMerge, an_interrupted_merge_goes_on_and_tells_what_it_had_found) {
  const Spoilt spoilt(2);
  MergeSpec spec = spoilt.spec({"task_arithmetic"});
  spec.allow_non_finite = true;
  spec.shard_bytes = 400;  // a file per tensor
  struct Stop {};
  EXPECT_THROW(merge(spec, 1,
                     [](double share) {
                       if (share > 0.5) {
                         throw Stop();
                       }
                     }),
               Stop);
  MergeSpec strict = spec;
  strict.allow_non_finite = false;
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(strict); }),
              HasSubstr("other inputs, methods or options"));
  const MergeReport report = merge(spec, 2);
  EXPECT_GT(report.continued_files, 0U);
  EXPECT_EQ(report.notes.size(), 2U);
}

}  // namespace
}  // namespace fusegrid
