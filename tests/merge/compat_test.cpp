// Merges with precision=compat write the bytes that mergekit wrote (tests/golden/compat).
#include "fusion/compat/compat.h"

#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "core/concatenate.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"
#include "support/source_folder.h"

namespace fusegrid::compat_test {
namespace {

const std::filesystem::path kGolden = source_folder() / "tests/golden/compat";
const std::map<std::string, at::ScalarType> kDtypes{
    {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}};

std::vector<std::string> cases() {
  std::vector<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    stems.push_back(entry.path().stem().string());
  }
  std::sort(stems.begin(), stems.end());
  return stems;
}

// Eight experts with tensors of uneven sizes: no multiples of what PyTorch adds up side by side.
TestZoo uneven_zoo() {
  const SafetensorsFile inputs(source_folder() / "tests/golden/compat_uneven.safetensors");
  TestZoo zoo;
  for (const std::string& model :
       split("base expert0 expert1 expert2 expert3 expert4 expert5 expert6 expert7", ' ')) {
    Weights weights;
    for (const FileTensor& tensor : inputs.tensors()) {
      if (tensor.name.starts_with(model + "/")) {
        weights[tensor.name.substr(model.size() + 1)] = inputs.read(tensor.name);
      }
    }
    if (model == "base") {
      zoo.base = weights;
    } else {
      zoo.tasks.push_back(model);
      zoo.experts.push_back(weights);
    }
  }
  return zoo;
}

// The golden zoo as files.
struct GoldenCheckpoints {
  GoldenCheckpoints(size_t experts, at::ScalarType dtype) : GoldenCheckpoints(golden_zoo(), experts, dtype) {}
  GoldenCheckpoints(const TestZoo& all, size_t experts, at::ScalarType dtype) : zoo(all.first(experts)) {
    add("base", zoo.base, dtype);
    for (size_t i = 0; i < experts; ++i) {
      add(zoo.tasks[i], zoo.experts[i], dtype);
    }
  }
  void add(const std::string& name, const Weights& weights, at::ScalarType dtype) const {
    save_hf_folder(folder / name, converted(weights, dtype), {{"model_type", "test"}});
  }
  MergeSpec spec(const std::string& call, uint64_t seed) const {
    MergeSpec spec;
    spec.base = folder / "base";
    for (const std::string& task : zoo.tasks) {
      spec.experts.push_back({task, folder / task});
    }
    auto [name, parameters] = parse_call(call);
    spec.methods = {{name, parameters}};
    spec.out = folder / "out";
    spec.seed = seed;
    spec.precision = MergePrecision::kCompat;
    spec.threads = 0;
    return spec;
  }

  TemporaryFolder folder;
  TestZoo zoo;
};

// Also tells 0 from -0.
int64_t different_bits(const at::Tensor& a, const at::Tensor& b) {
  const auto whole = a.element_size() == 2 ? at::kShort : at::kInt;
  return (a.contiguous().view(whole) != b.contiguous().view(whole)).sum().item<int64_t>();
}

// The order of sums and the last bits of functions depend on the processor, so mergekit's bytes do, too. As
// tests/golden/make_compat_mergekit.py computes both.
std::vector<at::Tensor> sums_of_processor(at::ScalarType dtype) {
  std::vector<int64_t> sizes(40);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.insert(sizes.end(), {45, 90, 213, 384});
  std::vector<at::Tensor> results;
  for (const int64_t models : {2, 4, 5, 8}) {
    for (const int64_t size : sizes) {
      const at::Tensor numbers = (at::arange(models * size) * 7919).remainder(2003).sub(1001) / 1000;
      const at::Tensor values = numbers.view({models, size}).to(dtype);
      results.insert(results.end(), {values.sum(0), values.sum(1), values.norm(2, {1})});
      at::Tensor total = at::zeros({size});
      for (int64_t model = 0; model < models; ++model) {
        total.addcmul_(values[model], values[model].narrow(0, 0, 1).to(at::kFloat));
      }
      results.push_back(total);
    }
  }
  return results;
}

std::vector<at::Tensor> functions_of_processor(at::ScalarType dtype) {
  const at::Tensor numbers = ((at::arange(2001) - 1000) / 1000).to(dtype);
  return {numbers.acos(), numbers.sin(), numbers.cos(), (numbers + 2).log(),
          numbers.view({3, 667}).softmax(1)};
}

std::string digest_of(std::vector<at::Tensor> (*results)(at::ScalarType)) {
  Sha256 digest;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const at::Tensor& values : results(dtype)) {
      digest.update(values.contiguous().const_data_ptr(), values.nbytes());
    }
  }
  return digest.hex();
}

// Whether this processor computes as the one that made the golden values.
bool is_same_processor(const std::map<std::string, std::string>& metadata) {
  static const std::string sums = digest_of(sums_of_processor);
  static const std::string functions = digest_of(functions_of_processor);
  const auto theirs = metadata.find("functions");
  return metadata.at("sums") == sums && (theirs == metadata.end() || theirs->second == functions);
}

// Equal bits; on another kind of processor than the golden values' a few units of the last place.
void expect_golden(const at::Tensor& merged, const at::Tensor& expected, bool same_processor) {
  const at::Tensor difference = (merged - expected).to(at::kDouble).abs();
  if (same_processor) {
    EXPECT_EQ(different_bits(merged, expected), 0)
        << "of " << merged.numel() << ", largest difference " << difference.max().item<double>();
    return;
  }
  const double last_place = expected.scalar_type() == at::kFloat  ? 0x1p-22
                            : expected.scalar_type() == at::kHalf ? 0x1p-10
                                                                  : 0x1p-7;
  EXPECT_TRUE(merged.isnan().equal(expected.isnan()));
  const at::Tensor largest = expected.to(at::kDouble).nan_to_num(0).abs().max();
  EXPECT_LE(difference.nan_to_num(0).max().item<double>(), last_place * largest.item<double>());
}

class Compat : public testing::TestWithParam<std::string> {};

TEST_P(Compat, writes_the_bytes_of_mergekit) {
  const SafetensorsFile golden(kGolden / (GetParam() + ".safetensors"));
  const auto experts = static_cast<size_t>(parse_int(golden.metadata().at("experts"), "experts"));
  const auto seed = static_cast<uint64_t>(parse_int(golden.metadata().at("seed"), "seed"));
  const bool same_processor = is_same_processor(golden.metadata());
  const TestZoo zoo = golden.metadata().at("models") == "uneven" ? uneven_zoo() : golden_zoo();
  for (const auto& [dtype, type] : kDtypes) {
    const GoldenCheckpoints models(zoo, experts, type);
    const MergeSpec spec = models.spec(golden.metadata().at("call"), seed);
    merge(spec, 2);
    const HfFolder merged(spec.out);
    size_t compared = 0;
    for (const TensorInfo& info : merged.tensors()) {
      if (info.name != golden.metadata().at("left_out")) {
        const at::Tensor expected = golden.read(dtype + "/" + info.name);
        SCOPED_TRACE(dtype + " " + info.name);
        expect_golden(merged.read(info.name), expected, same_processor);
        ++compared;
      }
    }
    EXPECT_EQ(compared, zoo.base.size() - (golden.metadata().at("left_out").empty() ? 0 : 1));
  }
}

// A streamed block gives the bits of the whole tensor, however short the last block is.
TEST(CompatSums, of_blocks_are_those_of_the_whole_tensor) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t models : {2, 5, 6, 8, 17}) {
      for (const int64_t rest : {1, 3, 4, 5, 7, 8, 11, 15, 16, 31, 33}) {
        const int64_t size = 64 + rest;
        const at::Tensor values = normal(1, 0, 0, models * size).view({models, size}).to(dtype);
        Slice slice;
        slice.count = 64;
        std::vector<at::Tensor> blocks{sum_over_models(slice, values.narrow(1, 0, 64).contiguous())};
        slice.begin = 64;
        slice.count = rest;
        blocks.push_back(sum_over_models(slice, values.narrow(1, 64, rest).contiguous()));
        EXPECT_EQ(different_bits(concatenate(blocks), values.sum(0)), 0)
            << dtype << " " << models << " " << rest;
      }
    }
  }
}

// In float32 the order of PyTorch is not that of the experts: else the golden bytes above would prove nothing.
TEST(CompatSums, have_another_order_at_the_end_of_a_tensor) {
  const at::Tensor values = normal(2, 0, 0, 8 * 37).view({8, 37});
  at::Tensor in_order = values[0].clone();
  for (int64_t model = 1; model < 8; ++model) {
    in_order += values[model];
  }
  EXPECT_EQ(different_bits(values.sum(0).narrow(0, 0, 32), in_order.narrow(0, 0, 32)), 0);
  EXPECT_GT(different_bits(values.sum(0), in_order), 0);
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Golden, Compat, testing::ValuesIn(cases()), test_name);

TEST(CompatRegistry, every_method_has_golden_bytes) {
  std::set<std::string> proven{"passthrough", "ram"};  // by their digests in tests/mergekit
  for (const std::string& stem : cases()) {
    proven.insert(parse_call(SafetensorsFile(kGolden / (stem + ".safetensors")).metadata().at("call")).first);
  }
  const auto names = compat_registry().names();
  EXPECT_EQ(proven, std::set<std::string>(names.begin(), names.end()));
}

TEST(CompatPlan, is_not_the_default_and_is_in_the_manifest) {
  const GoldenCheckpoints models(2, at::kBFloat16);
  MergeSpec spec = models.spec("task_arithmetic{scale=0.7}", 0);
  merge(spec, 1);
  const auto manifest = nlohmann::json::parse(read_text(spec.out / kManifestFile));
  EXPECT_TRUE(manifest.at("arithmetic").get<std::string>().starts_with("mergekit 0.1.5, task_arithmetic"));
  spec.precision = MergePrecision::kFloat32;
  spec.out = models.folder / "fp32";
  merge(spec, 1);
  EXPECT_NE(folder_digest(spec.out), folder_digest(models.folder / "out"));
}

TEST(CompatPlan, refuses_what_mergekit_does_not_have) {
  const GoldenCheckpoints models(2, at::kBFloat16);
  const auto refusal = [&](const std::string& call) {
    return message_of<ConfigError>([&] { plan_merge(models.spec(call, 0)); });
  };
  const std::string unknown = refusal("emr");
  EXPECT_NE(unknown.find("ties"), std::string::npos) << unknown;  // who has it
  EXPECT_NE(refusal("ties").find("ties{dialect=mergekit}"), std::string::npos);
  EXPECT_NE(refusal("dare").find("rescale=l1|none"), std::string::npos);
  EXPECT_NE(refusal("dare_ties{rescale=l1}").find("density=1"), std::string::npos);
  EXPECT_NE(refusal("slerp{threshold=0.9}").find("threshold=0.9995"), std::string::npos);
}

TEST(CompatPlan, refuses_dtypes_that_it_cannot_round_to) {
  const GoldenCheckpoints models(2, at::kBFloat16);
  MergeSpec spec = models.spec("task_arithmetic", 0);
  spec.model_dtype = at::kDouble;
  EXPECT_NE(message_of<ConfigError>([&] { plan_merge(spec); }).find("float64"), std::string::npos);
  models.add("double", models.zoo.experts[1], at::kDouble);
  spec.model_dtype.reset();
  spec.experts[1].path = models.folder / "double";
  EXPECT_NE(message_of<ConfigError>([&] { plan_merge(spec); }).find("float64"), std::string::npos);
}

TEST(CompatPlan, rounds_to_what_the_models_promote_to) {
  const GoldenCheckpoints models(2, at::kBFloat16);
  models.add("half", models.zoo.experts[1], at::kHalf);
  MergeSpec spec = models.spec("task_arithmetic", 0);
  spec.experts[1].path = models.folder / "half";
  for (const TensorInfo& info : plan_merge(spec).models.tensors) {
    EXPECT_EQ(info.dtype, at::kFloat) << info.name;
  }
  spec.dtype = at::kBFloat16;  // of the result alone
  EXPECT_EQ(plan_merge(spec).models.rounded_to.front(), at::kFloat);
  EXPECT_EQ(plan_merge(spec).models.tensors.front().dtype, at::kBFloat16);
  models.add("other", models.zoo.experts[1], at::kFloat);
  spec.experts[1].path = models.folder / "other";
  spec.model_dtype = at::kBFloat16;  // then it is rounded first, as by mergekit's `dtype`
  merge(spec, 1);
  const MergeSpec same = [&] {
    MergeSpec equal = models.spec("task_arithmetic", 0);
    equal.out = models.folder / "same";
    return equal;
  }();
  merge(same, 1);
  EXPECT_EQ(folder_digest(spec.out), folder_digest(same.out));
}

}  // namespace
}  // namespace fusegrid::compat_test
