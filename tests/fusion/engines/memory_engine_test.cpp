#include "fusion/engines/memory_engine.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/fill.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid::memory_engine_test {
namespace {

// Tensors of two and a half blocks, of one entry, of none, a scalar and one of integers.
struct Models {
  Weights base{{"a", at::zeros({kSliceElements * 5 / 2})},
               {"b", at::zeros({1, 1})},
               {"c", at::empty({0, 3})},
               {"d", at::zeros({})},
               {"e", at::arange(4)}};
  Weights first = moved(1);
  Weights second = moved(2);
  StatisticsCache cache{1 << 28, "", at::kCPU};
  int64_t ticks = 0;
  MemoryEngine engine{base, {&first, &second}, "key", cache, [this] { ++ticks; }};

  Weights moved(double by) const {
    Weights weights;
    for (const auto& [name, tensor] : base) {
      weights[name] = tensor.is_floating_point() ? tensor + by : tensor + 100;
    }
    return weights;
  }
};

TEST(MemoryEngine, slices_cover_every_element_once_and_in_order) {
  Models models;
  int64_t next = 0;
  std::map<std::string, int64_t> covered;
  models.engine.for_each_slice([&](const Slice& slice) {
    EXPECT_EQ(slice.global_begin, next);
    EXPECT_EQ(slice.begin, covered[slice.name()]);
    EXPECT_GT(slice.count, 0);
    EXPECT_LE(slice.count, kSliceElements);
    EXPECT_EQ(slice.base().dim(), 1);
    EXPECT_EQ(slice.base().numel(), slice.count);
    EXPECT_EQ(slice.num_experts(), 2U);
    EXPECT_TRUE(slice.task_vector(1).eq(2).all().item<bool>());
    covered[slice.name()] += slice.count;
    next += slice.count;
  });
  EXPECT_EQ(covered, (std::map<std::string, int64_t>{{"a", kSliceElements * 5 / 2}, {"b", 1}, {"d", 1}}));
  EXPECT_EQ(models.ticks, 5);
}

TEST(MemoryEngine, tensors_come_whole_in_their_own_shape) {
  Models models;
  std::vector<std::string> names;
  models.engine.for_each_tensor([&](const Slice& slice) {
    names.push_back(slice.name());
    EXPECT_EQ(slice.base().sizes().vec(), models.base.at(slice.name()).sizes().vec());
    EXPECT_EQ(slice.begin, 0);
  });
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST(MemoryEngine, shows_the_factors_of_experts_that_have_them) {
  Models models;
  const FactorsByName none;
  const FactorsByName some{{"b", {at::zeros({1, 2}), at::ones({2, 1}), 0.5}}};
  const Weights no_base;
  const auto factors_in = [&](const Weights& base, std::vector<const FactorsByName*> factors) {
    std::vector<std::string> seen;
    MemoryEngine engine(
        base, {&models.first, &models.second}, "key", models.cache, [] {}, std::move(factors));
    engine.for_each_tensor([&](const Slice& slice) {
      for (size_t expert = 0; expert < slice.num_experts(); ++expert) {
        if (const auto found = slice.factors(expert)) {
          EXPECT_EQ(found->scale, 0.5);
          EXPECT_TRUE(found->a.equal(at::ones({2, 1})));
          seen.push_back(slice.name() + std::to_string(expert));
        }
      }
    });
    return seen;
  };
  EXPECT_EQ(factors_in(models.base, {&none, &some}), std::vector<std::string>{"b1"});
  EXPECT_EQ(factors_in(models.base, {}), std::vector<std::string>());
  EXPECT_THROW(factors_in(no_base, {&none, &some}), AccessError)
      << "a method must declare that it sees the base";
}

TEST(MemoryEngine, maps_slices_to_models_and_copies_integers) {
  Models models;
  const auto outputs = models.engine.map_slices(2, [](const Slice& slice) {
    return std::vector<at::Tensor>{slice.expert(0) * 10, slice.expert(1) * 10};
  });
  ASSERT_EQ(outputs.size(), 2U);
  for (const std::string name : {"a", "b", "c", "d"}) {
    EXPECT_EQ(outputs[0].at(name).sizes().vec(), models.base.at(name).sizes().vec());
    EXPECT_TRUE(outputs[0].at(name).eq(10).all().item<bool>());
    EXPECT_TRUE(outputs[1].at(name).eq(20).all().item<bool>());
  }
  EXPECT_TRUE(outputs[0].at("e").equal(models.base.at("e")));
}

// Of tensors of several blocks: the engine's memory, or tensors that are copied there.
TEST(MemoryEngine, takes_results_from_where_they_are_made) {
  Models models;
  const float* begin = nullptr;
  const auto outputs = models.engine.map_slices(2, [&](const Slice& slice) {
    EXPECT_EQ(slice.results.size(), slice.name() == "a" ? 2U : 0U);
    if (slice.results.empty()) {
      return std::vector<at::Tensor>{slice.expert(0) * 10, slice.expert(1) * 10};
    }
    begin = slice.begin == 0 ? slice.results[0].const_data_ptr<float>() : begin;
    EXPECT_EQ(slice.results[0].const_data_ptr<float>(), begin + slice.begin);
    at::Tensor(slice.results[0]).fill_(10);
    return std::vector<at::Tensor>{slice.results[0], slice.expert(1) * 10};
  });
  for (const std::string name : {"a", "b", "d"}) {
    EXPECT_TRUE(outputs[0].at(name).eq(10).all().item<bool>());
    EXPECT_TRUE(outputs[1].at(name).eq(20).all().item<bool>());
  }
  EXPECT_EQ(outputs[0].at("a").const_data_ptr<float>(), begin);
}

// Tensors of one block are not copied where nobody else has them.
TEST(MemoryEngine, makes_models_that_share_no_memory_with_others) {
  Models models;
  std::vector<at::Tensor> remembered;
  auto outputs = models.engine.map_slices(4, [&](const Slice& slice) {
    const at::Tensor twice = slice.expert(0) * 2;
    remembered.push_back(slice.expert(0) * 3);
    return std::vector<at::Tensor>{slice.expert(1), twice, twice, remembered.back()};
  });
  for (Weights& output : outputs) {
    output.at("b").add_(100);
  }
  EXPECT_EQ(models.second.at("b").item<float>(), 2);
  EXPECT_EQ(outputs[1].at("b").item<float>(), 102);
  EXPECT_EQ(outputs[2].at("b").item<float>(), 102);
  EXPECT_EQ(outputs[3].at("b").item<float>(), 103);
  for (const at::Tensor& tensor : remembered) {
    EXPECT_TRUE(tensor.eq(3).all().item<bool>());
  }
}

TEST(MemoryEngine, without_a_base_takes_layout_and_integers_from_the_first_expert) {
  Models models;
  const Weights none;
  MemoryEngine engine(none, {&models.first, &models.second}, "key", models.cache, [] {});
  const auto merged = engine.map_tensors(2, [](const Slice& slice) {
    EXPECT_THROW(slice.base(), AccessError);
    EXPECT_THROW(slice.task_vector_views(), AccessError);
    EXPECT_THROW(slice.task_vector(0), AccessError);
    return std::vector<at::Tensor>{slice.expert(0) + slice.expert(1), slice.expert(1)};
  });
  ASSERT_EQ(merged.size(), 2U);
  EXPECT_TRUE(merged[0].at("a").eq(3).all().item<bool>());
  EXPECT_TRUE(merged[1].at("a").eq(2).all().item<bool>());
  EXPECT_EQ(merged[1].at("a").sizes().vec(), models.second.at("a").sizes().vec());
  EXPECT_TRUE(merged[1].at("e").equal(models.first.at("e")));
}

TEST(MemoryEngine, gives_results_the_mean_of_running_statistics) {
  const auto model = [](float value) {
    return Weights{{"norm.running_mean", at::ones({2}) * value}, {"norm.weight", at::ones({2}) * value}};
  };
  const Weights base = model(100), first = model(1), second = model(4), none;
  StatisticsCache cache{1 << 28, "", at::kCPU};
  MemoryEngine engine(base, {&first, &second}, "key", cache, [] {});
  ASSERT_EQ(engine.tensors().size(), 1U);
  EXPECT_EQ(engine.num_elements(), 2);
  const auto outputs = engine.map_slices(2, [](const Slice& slice) {
    EXPECT_EQ(slice.name(), "norm.weight");
    return std::vector<at::Tensor>{slice.expert(0) * 10, slice.expert(1) * 10};
  });
  for (const Weights& output : outputs) {
    EXPECT_TRUE(output.at("norm.running_mean").eq(2.5).all().item<bool>());
  }
  EXPECT_TRUE(outputs[1].at("norm.weight").eq(40).all().item<bool>());
  MemoryEngine of_base(base, {}, "key", cache, [] {});
  const auto copied =
      of_base.map_tensors(1, [](const Slice& slice) { return std::vector<at::Tensor>{slice.base()}; });
  EXPECT_TRUE(copied[0].at("norm.running_mean").equal(base.at("norm.running_mean")));
}

TEST(MemoryEngine, reduces_per_tensor_in_block_order) {
  Models models;
  const auto count = [](const Slice& slice, double* out) {
    out[0] = static_cast<double>(slice.count);
    out[1] = 0.1 * static_cast<double>(slice.begin + 1);  // rounding shows the order of the sum
  };
  const auto sums = models.engine.reduce_per_tensor(2, count);
  ASSERT_EQ(sums.size(), 4U);
  EXPECT_EQ(sums[0][0], static_cast<double>(kSliceElements * 5 / 2));
  EXPECT_EQ(sums[0][1], (0.1 * 1 + 0.1 * (kSliceElements + 1)) + 0.1 * (2 * kSliceElements + 1));
  EXPECT_EQ(sums[2], (std::vector<double>{0, 0}));
  EXPECT_EQ(models.engine.reduce_per_tensor(2, count), sums);
}

TEST(MemoryEngine, evaluates_a_field_once_for_all_slices_and_engines_of_these_models) {
  Models models;
  int64_t evaluated = 0;
  const Field field{"twice", [&](const Slice& slice) {
                      evaluated += slice.count;
                      return slice.expert(0) * 2;
                    }};
  const auto use = [&](MemoryEngine& engine) {
    engine.for_each_slice([&](const Slice& slice) { EXPECT_TRUE(slice[field].equal(slice.expert(0) * 2)); });
  };
  use(models.engine);
  const int64_t once = kSliceElements * 5 / 2 + 2;
  EXPECT_EQ(evaluated, once);
  MemoryEngine same(models.base, {&models.first, &models.second}, "key", models.cache, [] {});
  use(same);
  EXPECT_EQ(evaluated, once);
  MemoryEngine other(models.base, {&models.first}, "other key", models.cache, [] {});
  use(other);
  EXPECT_EQ(evaluated, 2 * once);
}

}  // namespace
}  // namespace fusegrid::memory_engine_test
