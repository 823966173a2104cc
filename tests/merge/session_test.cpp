// What methods must not do in a streamed merge.
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "fusion/engines/stream_engine.h"
#include "merge/checkpoints.h"
#include "merge/outputs.h"

namespace fusegrid {
namespace {

class StreamSessionTest : public testing::Test {
 protected:
  // Runs `fuse` on two ranks; the message of the error that both throw.
  std::string failure(const std::function<void(Engine&)>& fuse) {
    // before any rank begins: a plan refuses the unfinished outputs of another merge
    const MergePlan plan = plan_merge(models.spec({"task_arithmetic"}));
    return message_of<AgreedError>([&] {
      on_ranks(2, [&](Collectives& group) {
        MergeOutputs::Setup setup;
        setup.out = models.folder / "out";
        setup.folders = {""};
        setup.layout = plan.layout;
        setup.tensors = plan.models.tensors;
        setup.sources = plan.models.sources();
        setup.reference = &plan.inputs.reference();
        MergeOutputs outputs(setup, group);
        std::vector<std::vector<size_t>> stages(plan.layout.shards.size());
        for (size_t i = 0; i < plan.models.tensors.size(); ++i) {
          stages[0].push_back(i);
        }
        const StreamLayout layout(plan.models.tensors, stages, group.size(), kSliceElements);
        StreamSession session(plan.models, layout, group, outputs, {});
        session.run({{.with_base = true, .first_output = 0, .outputs = 1, .fuse = fuse},
                     {.with_base = true, .first_output = 0, .outputs = 1, .fuse = [](Engine& engine) {
                        engine.for_each_slice([](const Slice&) {});  // waits for the one that fails
                        engine.for_each_slice([](const Slice&) {});
                      }}});
      });
    });
  }

  Checkpoints models{2, at::kFloat};
};

TEST_F(StreamSessionTest, a_pass_inside_a_pass_is_refused) {
  const std::string message = failure([](Engine& engine) {
    engine.for_each_slice([&](const Slice&) { engine.for_each_slice([](const Slice&) {}); });
  });
  EXPECT_NE(message.find("a pass was asked for inside a pass"), std::string::npos) << message;
}

TEST_F(StreamSessionTest, models_are_made_in_one_pass) {
  const std::string message = failure([](Engine& engine) {
    const auto copy = [](const Slice& slice) { return std::vector<at::Tensor>{slice.base(), slice.base()}; };
    engine.map_slices(2, copy);
  });
  EXPECT_NE(message.find("1 model(s) in one pass"), std::string::npos) << message;
}

TEST_F(StreamSessionTest, an_error_of_one_configuration_ends_all) {
  const std::string message = failure([](Engine&) { throw std::runtime_error("the method fails"); });
  EXPECT_NE(message.find("the method fails"), std::string::npos) << message;
}

}  // namespace
}  // namespace fusegrid
