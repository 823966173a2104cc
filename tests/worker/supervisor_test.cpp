#include "worker/supervisor.h"

#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/faulty_executor.h"
#include "support/temporary_folder.h"
#include "worker/protocol.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// A host whose kernel lists a GPU that CUDA cannot use: what a broken driver looks like.
class BrokenGpu : public testing::Test {
 protected:
  BrokenGpu() {
    const auto gpu = folder_.path() / "driver/nvidia/gpus/0000:01:00.0";
    std::filesystem::create_directories(gpu);
    std::ofstream(gpu / "information") << "Model: \t\t Fast GPU\nGPU UUID: \t GPU-none\n";
    options_.host = {"GPU-none", false, folder_.path()};
  }
  ~BrokenGpu() override { unsetenv("CUDA_VISIBLE_DEVICES"); }  // inline executors set it

  // What the worker answers to the beginning of a campaign, up to its hello.
  std::vector<ToCoordinator> answers(const std::string& device, bool inline_executor = false) {
    auto ends = in_process_transports(2);
    std::thread worker([&] { run_worker(*ends[1], options_); });
    WorkerSettings settings;
    settings.epoch = 1;
    settings.device = device;
    settings.inline_executor = inline_executor;
    settings.executor_kind = "faulty";
    settings.silence_limit_ms = 60'000;
    settings.stall_timeout_ms = 20'000;
    ends[0]->send(1, encode(ToWorker(Begin{settings})));
    std::vector<ToCoordinator> all;
    while (all.empty() || !std::holds_alternative<Hello>(all.back())) {
      const auto message = ends[0]->receive(milliseconds(30'000));
      if (!message) {
        break;
      }
      all.push_back(decode_to_coordinator(message->bytes));
    }
    ends[0]->send(1, encode(ToWorker(Stop{0})));
    worker.join();
    return all;
  }

  TemporaryFolder folder_;
  WorkerOptions options_;
};

std::string error_of(const std::vector<ToCoordinator>& answers) {
  const auto* hello = answers.empty() ? nullptr : std::get_if<Hello>(&answers.back());
  return hello == nullptr ? "no hello" : hello->error;
}

TEST_F(BrokenGpu, IsToldBeforeWorkBegins) {
  for (const bool inline_executor : {false, true}) {
    const auto all = answers("cuda", inline_executor);

    ASSERT_EQ(all.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<Pong>(all[0])) << "it is alive while it opens the device";
    EXPECT_THAT(error_of(all),
                testing::AllOf(HasSubstr("rank 1 on "), HasSubstr("LibTorch"), HasSubstr("--device cpu")));
  }
}

TEST_F(BrokenGpu, IsToldWhereTheExecutorDiesOfIt) {
  options_.executable = "/bin/false";

  EXPECT_THAT(error_of(answers("auto")),
              testing::AllOf(HasSubstr("could not open gpu GPU-none, Fast GPU: exit code 1"),
                             HasSubstr("nvidia-smi")));
}

TEST_F(BrokenGpu, DoesNotMatterOnTheCpu) {
  EXPECT_EQ(error_of(answers("cpu")), "");
}

}  // namespace
}  // namespace fusegrid
