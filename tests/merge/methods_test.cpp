// Every method that `merge` offers gives the bits that it gives in memory, on any number of ranks.
#include <gtest/gtest.h>

#include "core/text.h"
#include "fusion/fused_model.h"
#include "fusion/method.h"
#include "fusion/sharding.h"
#include "merge/checkpoints.h"
#include "support/quick_options.h"

namespace fusegrid::methods_test {
namespace {

// Every mergeable method with few steps, and options that take another way through a method.
std::vector<std::string> calls() {
  std::vector<std::string> calls{"ties{dialect=mergekit}", "dare{rescale=l1}", "emr{rescaler=per_tensor}"};
  for (const std::string& name : method_registry().names()) {
    if (can_be_sharded(method_registry().at(name).card)) {
      calls.push_back(quick(name));
    }
  }
  return calls;
}

class EveryMergeableMethod : public testing::TestWithParam<std::string> {
 protected:
  size_t experts() const {
    const MethodCard& card = method_registry().at(parse_call(GetParam()).first).card;
    return static_cast<size_t>(std::clamp<int64_t>(3, card.min_experts, card.max_experts));
  }

  // folder -> digest, from memory.
  std::map<std::string, std::string> expected(const Checkpoints& models, at::ScalarType dtype) const {
    const std::map<std::string, Weights> merged = in_memory(models);
    std::map<std::string, std::string> digests;
    for (const auto& [folder, weights] : merged) {
      digests[folder] = digest(converted(weights, dtype));
    }
    return digests;
  }

  std::map<std::string, Weights> in_memory(const Checkpoints& models) const {
    const bool per_task =
        method_registry().at(parse_call(GetParam()).first).card.yields == Yields::kModelPerTask;
    std::map<std::string, Weights> by_folder;
    for (const auto& [name, tensor] : models.zoo.fuse(GetParam()).weights) {
      const size_t slash = per_task ? name.find('/') : std::string::npos;
      by_folder[per_task ? name.substr(0, slash) : ""][per_task ? name.substr(slash + 1) : name] = tensor;
    }
    for (auto& [folder, weights] : by_folder) {
      weights["position_ids"] =
          models.zoo.base.at("position_ids");  // without a base, memory takes the first expert's
    }
    return by_folder;
  }

  void check(at::ScalarType dtype, const std::vector<int>& ranks) const {
    const Checkpoints models(experts(), dtype);
    const auto digests = expected(models, dtype);
    for (const int n : ranks) {
      const std::string out = "out" + std::to_string(n);
      MergeSpec spec = models.spec({GetParam()}, out);
      spec.threads = n % 2;  // with and without threads of its own
      merge(spec, n);
      for (const auto& [folder, expected_digest] : digests) {
        EXPECT_EQ(folder_digest(models.folder / out / folder), expected_digest)
            << n << " ranks, " << at::toString(dtype) << ", folder '" << folder << "'";
      }
    }
  }
};

TEST_P(EveryMergeableMethod, gives_the_bits_of_memory_on_any_number_of_ranks) {
  check(at::kBFloat16, {1, 2, 3, 5, 7});
}

TEST_P(EveryMergeableMethod, gives_the_bits_of_memory_for_other_dtypes) {
  check(at::kFloat, {1, 4});
  check(at::kHalf, {3});
  check(at::kDouble, {2});
}

TEST_P(EveryMergeableMethod, gives_the_bits_of_memory_for_float8) {
  for (const at::ScalarType dtype :
       {at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kFloat8_e4m3fnuz, at::kFloat8_e5m2fnuz}) {
    check(dtype, {2});
  }
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMergeableMethod, testing::ValuesIn(calls()), test_name);

}  // namespace
}  // namespace fusegrid::methods_test
