#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "fusion/data_source.h"
#include "fusion/fusion_input.h"
#include "fusion/passes/interpolation.h"
#include "fusion/whole_model/validation_score.h"
#include "methods/planted.h"
#include "support/golden.h"
#include "support/peak_memory.h"
#include "support/wide_zoo.h"

namespace fusegrid::kinship_greedy_test {
namespace {

double validation_accuracy(const TestZoo& zoo, const Weights& weights) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "val", -1);
    const at::Tensor logits = zoo.network->output(weights, zoo.network->ready(examples.inputs), task);
    sum += (logits.argmax(1) == examples.labels).to(at::kDouble).mean().item<double>();
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

// The recorded kinship of the first merge.
double first_kinship(const TestZoo& zoo, const std::string& metric) {
  const std::string log = zoo.fuse("kinship_greedy{generations=1,metric=" + metric + "}").facts.at("merges");
  const size_t begin = log.find("kinship=") + 8;
  return parse_double(log.substr(begin, log.find(' ', begin) - begin), "kinship");
}

TEST(KinshipGreedy, is_never_worse_on_validation_than_any_expert) {
  const TestZoo zoo = random_zoo(3, 0.3);
  for (const std::string options :
       {"{generations=2}", "{explore=false,generations=2}", "{k=2,metric=euclidean,generations=3}",
        "{k=3,metric=cosine,stop=1,generations=2}"}) {
    const double merged = validation_accuracy(zoo, zoo.fuse("kinship_greedy" + options).weights);
    for (const Weights& expert : zoo.experts) {
      EXPECT_GE(merged, validation_accuracy(zoo, expert));
    }
  }
}

TEST(KinshipGreedy, merges_every_pair_once_in_its_first_generation) {
  const Merged merged = random_zoo(4).fuse("kinship_greedy{generations=1}");
  const std::string& log = merged.facts.at("merges");
  EXPECT_EQ(std::count(log.begin(), log.end(), ';'), 5);  // 6 merges
  for (const std::string pair : {"(task0+task1)", "(task0+task2)", "(task0+task3)", "(task1+task2)",
                                 "(task1+task3)", "(task2+task3)"}) {
    EXPECT_NE(log.find(pair + " kinship="), std::string::npos) << pair;
  }
}

TEST(KinshipGreedy, ends_and_never_repeats_a_pair) {
  const std::string log =
      random_zoo(3, 0.3).fuse("kinship_greedy{k=3,stop=1,generations=4}").facts.at("merges");
  std::set<std::string> names;
  for (const std::string& merge : split(log, ';')) {
    EXPECT_TRUE(names.insert(trim(merge).substr(0, trim(merge).find(' '))).second) << merge;
  }
}

// The model whose name is a sum in parentheses, "((task0+task1)+task2)", merged pair by pair as it is read.
Weights model_named(const TestZoo& zoo, const std::string& name) {
  if (!name.starts_with('(')) {
    return zoo.experts[static_cast<size_t>(std::find(zoo.tasks.begin(), zoo.tasks.end(), name) -
                                           zoo.tasks.begin())];
  }
  size_t middle = 0;
  int depth = 0;
  for (size_t i = 0; i < name.size() && middle == 0; ++i) {
    depth += name[i] == '(' ? 1 : name[i] == ')' ? -1 : 0;
    middle = name[i] == '+' && depth == 1 ? i : 0;
  }
  const Weights first = model_named(zoo, name.substr(1, middle - 1));
  const Weights second = model_named(zoo, name.substr(middle + 1, name.size() - middle - 2));
  Weights merged;
  for (const auto& [tensor, values] : first) {
    merged[tensor] = values.is_floating_point() ? slerp(values, second.at(tensor), 0.5, 0.9995) : values;
  }
  return merged;
}

TEST(KinshipGreedy, returns_the_model_whose_name_it_records) {
  size_t deepest = 0;
  for (const double spread : {0.05, 0.3, 0.6}) {
    const TestZoo zoo = random_zoo(4, spread);
    const Merged merged = zoo.fuse("kinship_greedy{stop=1,generations=4}");
    const std::string& chosen = merged.facts.at("chosen");
    EXPECT_EQ(digest(merged.weights), digest(model_named(zoo, chosen))) << chosen;
    deepest = std::max<size_t>(deepest, static_cast<size_t>(std::count(chosen.begin(), chosen.end(), '(')));
  }
  EXPECT_GE(deepest, 2U) << "a merge of merges is among them";
}

TEST(KinshipGreedy, holds_one_candidate_at_a_time) {
  const TestZoo zoo = wide_zoo(6);
  const int64_t peak = peak_tensor_bytes([&] { zoo.fuse("kinship_greedy{stop=1,generations=4}"); });
  EXPECT_GT(peak, kWideModelBytes);
  EXPECT_LT(peak, 4 * kWideModelBytes);
}

// Planted: tau_1 = tau_0 / 2.
TEST(KinshipGreedy, kinship_is_that_of_planted_task_vectors) {
  TestZoo zoo = random_zoo(2, 0.3);
  double length = 0;
  double distance = 0;
  for (auto& [name, tensor] : zoo.experts[1]) {
    if (tensor.is_floating_point()) {
      const at::Tensor tau = zoo.experts[0].at(name) - zoo.base.at(name);
      tensor = zoo.base.at(name) + tau * 0.5;
      length += tau.square().sum().item<double>();
      distance += (tau * 0.5).square().sum().item<double>();
    }
  }
  EXPECT_NEAR(first_kinship(zoo, "cosine"), 1, 1e-6);
  EXPECT_NEAR(first_kinship(zoo, "pearson"), 1, 1e-6);
  EXPECT_NEAR(first_kinship(zoo, "euclidean"), -std::sqrt(distance), 1e-5 * std::sqrt(length));
  const TestZoo independent = random_zoo(2, 0.3);
  EXPECT_NEAR(first_kinship(independent, "cosine"), 0, 0.1);
  EXPECT_NEAR(first_kinship(independent, "pearson"), 0, 0.1);
}

// Numbers are scored by their correlation, in parts of the best expert's: each expert answers its own task's exactly.
TEST(KinshipGreedy, chooses_among_models_of_tasks_without_classes) {
  TestZoo zoo = affine_zoo(3, 0.3);
  const auto numbers = std::shared_ptr<const TaskKind>(&task_kind("regress"), [](const TaskKind*) {});
  for (size_t i = 0; i < zoo.tasks.size(); ++i) {
    const std::string& task = zoo.tasks[i];
    const Weights head = zoo.network->readout(task).weights();
    zoo.network->readouts[task] =
        affine_readout(head.at("weight").narrow(0, 0, 1), head.at("bias").narrow(0, 0, 1), Pooling::kFirst);
    Examples examples = zoo.data.examples(task, "val", -1);
    examples.values =
        zoo.network->output(zoo.experts[i], zoo.network->ready(examples.inputs), task).squeeze(1);
    zoo.data.set(task, "val", examples);
    zoo.data.set_kind(task, numbers);
  }
  const Merged merged = zoo.fuse("kinship_greedy{generations=2}");
  zoo.with_input(method_registry().at("kinship_greedy").card, [&](const FusionInput& in) {
    const ValidationScorer score(in);
    for (const Weights& expert : zoo.experts) {
      EXPECT_GE(score(merged.weights).accuracy, score(expert).accuracy);
      EXPECT_LT(score(expert).accuracy, 1);
    }
  });
}

// A shift of all entries changes the cosine, not the correlation.
TEST(KinshipGreedy, correlation_does_not_see_a_shift) {
  TestZoo zoo = random_zoo(2, 0.3);
  const double pearson = first_kinship(zoo, "pearson");
  for (auto& [name, tensor] : zoo.experts[1]) {
    if (tensor.is_floating_point()) {
      tensor = tensor + 0.5;
    }
  }
  for (auto& [name, tensor] : zoo.experts[0]) {
    if (tensor.is_floating_point()) {
      tensor = tensor + 0.5;
    }
  }
  EXPECT_NEAR(first_kinship(zoo, "pearson"), pearson, 1e-5);
  EXPECT_GT(first_kinship(zoo, "cosine"), 0.5);
}

}  // namespace
}  // namespace fusegrid::kinship_greedy_test
