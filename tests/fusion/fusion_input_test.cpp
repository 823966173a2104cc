#include "fusion/fusion_input.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/whole_model/statistics.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::fusion_input_test {
namespace {

std::vector<float> sorted_magnitudes(const at::Tensor& values) {
  std::vector<float> magnitudes;
  for (int64_t i = 0; i < values.numel(); ++i) {
    magnitudes.push_back(std::abs(values[i].item<float>()));
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  return magnitudes;
}

// Every k, with equal entries, zeros of both signs, the smallest and largest floats and denormal ones.
TEST(KthMagnitude, equals_sorting_for_every_k) {
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  constexpr float kLargest = std::numeric_limits<float>::max();
  const at::Tensor a = at::tensor({0.0F, -0.0F, 1.0F, -1.0F, 1.0F, kDenormal, -3 * kDenormal, kLargest, -2.5F,
                                   1e-30F, std::nextafter(1.0F, 2.0F), 0.5F});
  const at::Tensor b =
      at::tensor({1.0F, 2.0F, 3.0F, 4.0F, -5.0F, -6.0F, -7.0F, 8.0F, 8.0F, 8.0F, 1.5F, 0.0F});
  TestZoo zoo = random_zoo(2);
  zoo.base = {{"v", at::zeros_like(a.narrow(0, 0, 5))}, {"w", at::zeros_like(a.narrow(0, 5, 7))}};
  zoo.experts[0] = {{"v", a.narrow(0, 0, 5).clone()}, {"w", a.narrow(0, 5, 7).clone()}};
  zoo.experts[1] = {{"v", b.narrow(0, 0, 5).clone()}, {"w", b.narrow(0, 5, 7).clone()}};
  zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    const auto of_a = sorted_magnitudes(a);
    const auto of_b = sorted_magnitudes(b);
    for (int64_t k = 1; k <= a.numel(); ++k) {
      const auto index = static_cast<size_t>(k - 1);
      EXPECT_EQ(in.kth_magnitude(k), (std::vector<float>{of_a[index], of_b[index]})) << k;
    }
  });
}

TEST(KthMagnitude, equals_sorting_on_a_whole_model) {
  const TestZoo zoo = random_zoo(1);
  std::vector<at::Tensor> parts;
  for (const auto& [name, tensor] : zoo.base) {
    if (tensor.is_floating_point()) {
      parts.push_back((zoo.experts[0].at(name) - tensor).reshape({-1}));
    }
  }
  std::vector<float> magnitudes;
  for (const at::Tensor& part : parts) {
    const auto of_part = sorted_magnitudes(part);
    magnitudes.insert(magnitudes.end(), of_part.begin(), of_part.end());
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    ASSERT_EQ(in.num_elements(), static_cast<int64_t>(magnitudes.size()));
    for (int64_t k = 1; k <= in.num_elements(); k += 97) {
      EXPECT_EQ(in.kth_magnitude(k)[0], magnitudes[static_cast<size_t>(k - 1)]) << k;
    }
  });
}

TEST(KthMagnitude, counts_in_the_chosen_tensors_alone) {
  TestZoo zoo = random_zoo(1);
  zoo.base = {{"v", at::zeros({2})}, {"w", at::zeros({3})}};
  zoo.experts[0] = {{"v", at::tensor({9.0F, 0.1F})}, {"w", at::tensor({1.0F, -3.0F, 2.0F})}};
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const auto only_w = [](const TensorInfo& info) { return info.name == "w"; };
    EXPECT_EQ(in.kth_magnitude(1, only_w), std::vector<float>{1});
    EXPECT_EQ(in.kth_magnitude(3, only_w), std::vector<float>{3});
  });
}

TEST(FusionInput, numbers_of_tensors_come_from_whole_tensors) {
  const TestZoo zoo = random_zoo(1);
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const auto numbers = in.reduce_tensors(2, [](const Slice& slice, double* out) {
      out[0] = static_cast<double>(slice.base().dim());
      out[1] = -0.5 * static_cast<double>(slice.base().numel());
    });
    ASSERT_EQ(numbers.size(), in.tensors().size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(numbers[i][0], static_cast<double>(in.tensors()[i].shape.size()));
      EXPECT_EQ(numbers[i][1], -0.5 * static_cast<double>(in.tensors()[i].numel()));
    }
  });
}

TEST(FusionInput, fields_of_whole_tensors_are_made_once_and_read_by_tensor_passes_alone) {
  const TestZoo zoo = random_zoo(1);
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    size_t made = 0;
    const Field field = in.tensor_field("transposed", [&](const Slice& slice) {
      ++made;
      return slice.base().dim() == 2 ? slice.base().t().contiguous().view(slice.base().sizes())
                                     : slice.base();
    });
    const auto read = [&](const Slice& slice) { return slice[field]; };
    const Weights first = in.map_tensors(read);
    EXPECT_EQ(digest(in.map_tensors(read)), digest(first));
    EXPECT_EQ(made, in.tensors().size());
  });
}

// Signed values of both signs, several k at once, two vectors that are functions of both experts.
TEST(KthSmallest, equals_sorting_for_every_k) {
  const TestZoo zoo = random_zoo(2);
  const auto vectors = [](const Slice& slice) {
    const at::Tensor a = slice.task_vector(0);
    const at::Tensor b = slice.task_vector(1);
    return std::vector<at::Tensor>{a * b, a - b * 2};
  };
  zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    std::vector<std::vector<float>> sorted(2);
    in.map_elements([&](const Slice& slice) {
      const auto values = vectors(slice);
      for (size_t i = 0; i < 2; ++i) {
        const auto* data = values[i].const_data_ptr<float>();
        sorted[i].insert(sorted[i].end(), data, data + slice.count);
      }
      return slice.base();
    });
    std::vector<int64_t> ks;
    for (int64_t k = 1; k <= in.num_elements(); k += 83) {
      ks.push_back(k);
    }
    const auto found =
        in.kth_smallest(Order::kValues, 2, ks, [&](const Slice& slice) { return views(vectors(slice)); });
    for (size_t i = 0; i < 2; ++i) {
      std::sort(sorted[i].begin(), sorted[i].end());
      for (size_t j = 0; j < ks.size(); ++j) {
        EXPECT_EQ(found[i][j], sorted[i][static_cast<size_t>(ks[j] - 1)]) << i << " " << ks[j];
      }
    }
  });
}

TEST(Scalars, are_computed_once_per_key) {
  const TestZoo zoo = random_zoo(1);
  int computed = 0;
  zoo.with_needs({}, [&](const FusionInput& in) {
    for (int cell = 0; cell < 3; ++cell) {
      const auto numbers = in.scalars("a", [&] {
        ++computed;
        return std::vector<double>{0.1, -1e300};
      });
      EXPECT_EQ(numbers, (std::vector<double>{0.1, -1e300}));
    }
    EXPECT_TRUE(in.scalars("b", [] { return std::vector<double>(); }).empty());
  });
  EXPECT_EQ(computed, 1);
}

TEST(FusionInput, hands_out_only_what_the_card_declares) {
  const TestZoo zoo = random_zoo(2);
  zoo.with_needs({}, [](const FusionInput& in) {
    EXPECT_THROW(in.base(), AccessError);
    EXPECT_THROW(in.multitask(), AccessError);
    EXPECT_THROW(in.multitask_readouts(), AccessError);
    EXPECT_THROW(in.task_vector_sum(), AccessError);
    EXPECT_THROW(in.kth_magnitude(1), AccessError);
    EXPECT_THROW(in.train_inputs("task0", 1), AccessError);
    EXPECT_THROW(in.train_examples("task0", 1), AccessError);
    EXPECT_THROW(in.inputs_to_adapt_on("task0"), AccessError);
    EXPECT_THROW(in.validation_examples("task0"), AccessError);
    EXPECT_THROW(in.gram(0, 1), AccessError);
    EXPECT_THROW(in.fisher(0, 1, 1, "exact"), AccessError);
    EXPECT_THROW(in.expert(1), AccessError);  // its grain is elements
  });
  EXPECT_TRUE(zoo.data.touched().empty());
}

// What another method left in the cache is no way around the card.
TEST(FusionInput, hands_out_no_statistics_from_the_cache_that_the_card_does_not_declare) {
  const TestZoo zoo = random_zoo(1);
  zoo.with_needs({Need::kTrainInputs, Need::kGradients}, [](const FusionInput& in) {
    in.gram(0, 4);
    in.fisher(0, 4, 2, "exact");
  });
  zoo.with_needs({Need::kGradients}, [](const FusionInput& in) {
    EXPECT_THROW(in.gram(0, 4), AccessError);
    EXPECT_THROW(in.fisher(0, 4, 2, "exact"), AccessError);
  });
}

TEST(FusionInput, hands_out_declared_data) {
  const TestZoo zoo = random_zoo(2);
  zoo.with_needs({Need::kTrainInputs, Need::kTrainLabels, Need::kTestInputs, Need::kValidationExamples},
                 [](const FusionInput& in) {
                   EXPECT_EQ(in.train_inputs("task0", 5).size(), 5);
                   EXPECT_EQ(in.train_examples("task1", -1).labels.size(0), 24);
                   EXPECT_EQ(in.inputs_to_adapt_on("task1").size(), 20);
                   EXPECT_EQ(in.validation_examples("task1").inputs.size(), 12);
                 });
  EXPECT_EQ(zoo.data.touched(), (std::set<std::string>{"train", "test", "val"}));
}

TEST(FusionInput, hands_out_inputs_of_the_declared_split_to_adapt_on) {
  const TestZoo zoo = random_zoo(1);
  zoo.with_needs({Need::kValidationInputs}, [](const FusionInput& in) {
    EXPECT_EQ(in.inputs_to_adapt_on("task0").size(), 12);
    EXPECT_THROW(in.validation_examples("task0"), AccessError);
  });
  EXPECT_EQ(zoo.data.touched(), (std::set<std::string>{"val"}));
}

// Expert "task0" owns two tasks, "task1" one and "task2" none.
TestZoo zoo_of_owners() {
  TestZoo zoo = random_zoo(3);
  zoo.owners = {{"task0", "task0"}, {"task1", "task1"}, {"task2", "task0"}};
  return zoo;
}

TEST(FusionInput, knows_which_expert_owns_which_task) {
  zoo_of_owners().with_needs({}, [](const FusionInput& in) {
    EXPECT_EQ(in.expert_names(), (std::vector<std::string>{"task0", "task1", "task2"}));
    EXPECT_EQ(in.tasks(), (std::vector<std::string>{"task0", "task2", "task1"}));
    EXPECT_EQ(in.tasks_of(0), (std::vector<std::string>{"task0", "task2"}));
    EXPECT_EQ(in.tasks_of(1), (std::vector<std::string>{"task1"}));
    EXPECT_TRUE(in.tasks_of(2).empty());
    EXPECT_EQ(&in.kind("task2"), &task_kind("classify"));
  });
}

// Each task is dealt half of the examples and weighs one half.
TEST(FusionInput, statistics_of_an_expert_of_two_tasks_are_the_mean_of_both) {
  const TestZoo zoo = zoo_of_owners();
  const auto mean_of = [](const Weights& a, const Weights& b) {
    Weights mean;
    for (const auto& [name, tensor] : a) {
      mean.emplace(name, (tensor + b.at(name)) / 2);
    }
    return mean;
  };
  const auto shown = [&](const std::string& task) { return zoo.data.examples(task, "train", 4).inputs; };
  const auto gram = [&](const std::string& task) {
    return gram_matrices(*zoo.network, zoo.experts[0], task, task_kind("classify"), shown(task), [] {});
  };
  const auto fisher = [&](const std::string& task) {
    return fisher_diagonal(*zoo.network, zoo.experts[0], task, task_kind("classify"), shown(task), 2, "exact",
                           [] {});
  };
  zoo.with_needs({Need::kTrainInputs, Need::kGradients}, [&](const FusionInput& in) {
    expect_close(*in.gram(0, 8), mean_of(gram("task0"), gram("task2")), 1e-14);
    expect_close(*in.fisher(0, 8, 2, "exact"), mean_of(fisher("task0"), fisher("task2")), 1e-7);
  });
}

TEST(FusionInput, an_expert_without_tasks_has_no_statistics) {
  zoo_of_owners().with_needs({Need::kTrainInputs, Need::kGradients}, [](const FusionInput& in) {
    EXPECT_THROW(in.gram(2, 8), ConfigError);
    EXPECT_THROW(in.fisher(2, 8, 2, "exact"), ConfigError);
  });
}

TEST(FusionInput, reduces_all_tensors_to_the_same_bits_every_time) {
  const TestZoo zoo = random_zoo(2);
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const auto norm = [&] {
      return in.reduce(1, [](const Slice& slice, double* out) {
        out[0] = slice.task_vector(0).square().sum(at::kDouble).item<double>();
      });
    };
    const auto once = norm();
    EXPECT_GT(once[0], 0);
    EXPECT_EQ(norm(), once);
  });
}

// A grid of methods and parameters that share one cache: what belongs to the models is computed once.
TEST(FusionInput, shares_statistics_between_the_cells_of_a_grid) {
  const TestZoo zoo = random_zoo(3);
  for (int cell = 0; cell < 4; ++cell) {
    zoo.with_needs({Need::kPretrained, Need::kTrainInputs, Need::kGradients}, [&](const FusionInput& in) {
      const Field sum = in.task_vector_sum();
      in.map_elements([&](const Slice& slice) { return slice.base() + slice[sum] * (0.1 * cell); });
      for (size_t i = 0; i < 3; ++i) {
        in.gram(i, 8);
        in.fisher(i, 8, 4, "batch_squared");
      }
    });
  }
  const auto computed = zoo.cache->computed();
  EXPECT_EQ(computed.size(), 1U + 3U + 3U);
  for (const auto& [key, count] : computed) {
    EXPECT_EQ(count, 1) << key;
  }
}

TEST(FusionInput, statistics_of_a_subset_of_the_experts_are_shared_with_the_whole) {
  const TestZoo zoo = random_zoo(3);
  const auto all_grams = [](const FusionInput& in) {
    for (size_t i = 0; i < in.num_experts(); ++i) {
      in.gram(i, 8);
    }
  };
  zoo.with_needs({Need::kTrainInputs}, all_grams);
  zoo.first(2).with_needs({Need::kTrainInputs}, all_grams);
  EXPECT_EQ(zoo.cache->computed().size(), 3U);
}

}  // namespace
}  // namespace fusegrid::fusion_input_test
