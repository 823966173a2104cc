// Every rank gets the whole of what a stream makes, with the bits of memory.
#include "fusion/engines/gathering_sink.h"

#include <numeric>

#include <gtest/gtest.h>

#include "fusion/engines/stream_engine.h"
#include "fusion/fused_model.h"
#include "merge/checkpoints.h"
#include "merge/rehearsal.h"

namespace fusegrid {
namespace {

// The digests of the outputs of each rank.
std::vector<std::vector<std::string>> gathered(const Checkpoints& models, const std::string& call,
                                               int ranks) {
  std::vector<std::vector<std::string>> digests(static_cast<size_t>(ranks));
  const MergePlan plan = plan_merge(models.spec({call}));
  on_ranks(ranks, [&](Collectives& group) {
    std::vector<size_t> all(plan.models.tensors.size());
    std::iota(all.begin(), all.end(), size_t{0});
    const StreamLayout layout(plan.models.tensors, {all}, group.size(), kSliceElements);
    GatheringSink sink(plan.models.tensors, plan.outputs.size(), group, at::kCPU);
    StreamSession(plan.models, layout, group, sink, {.threads = ranks % 2}).run(configurations_of(plan));
    for (size_t i = 0; i < plan.outputs.size(); ++i) {
      Weights weights = sink.take(i);
      weights["position_ids"] = models.zoo.base.at("position_ids");  // merges leave integers alone
      digests[static_cast<size_t>(group.rank())].push_back(digest(weights));
    }
  });
  return digests;
}

TEST(GatheringSink, GivesEveryRankTheBitsOfMemory) {
  const Checkpoints models(3, at::kFloat);
  for (const std::string call : {"ties", "task_arithmetic", "tsv_m"}) {  // blocks and whole tensors
    const std::string expected = digest(models.zoo.fuse(call).weights);
    for (const int ranks : {1, 2, 3, 5}) {
      for (const auto& of_rank : gathered(models, call, ranks)) {
        ASSERT_EQ(of_rank.size(), 1U);
        EXPECT_EQ(of_rank[0], expected) << call << ", " << ranks << " ranks";
      }
    }
  }
}

TEST(GatheringSink, KeepsTheModelsOfTasksApart) {
  const Checkpoints models(3, at::kFloat);
  std::map<std::string, Weights> by_task;
  for (const auto& [name, tensor] : models.zoo.fuse("emr").weights) {
    const size_t slash = name.find('/');
    by_task[name.substr(0, slash)][name.substr(slash + 1)] = tensor;
  }
  for (const auto& of_rank : gathered(models, "emr", 2)) {
    ASSERT_EQ(of_rank.size(), 3U);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(of_rank[i], digest(by_task.at(models.zoo.tasks[i])));
    }
  }
}

}  // namespace
}  // namespace fusegrid
