// Executor kind "zoo": an item is one model of an embedded zoo to train (zoo/build.h).
#include <chrono>

#include <ATen/Parallel.h>

#include "worker/executor.h"
#include "zoo/build.h"

namespace fusegrid {
namespace {

class ZooExecutor : public Executor {
 public:
  explicit ZooExecutor(const ExecutorContext& context)
      : plan_(parse_settings(context.settings)), device_(context.device) {
    at::set_num_threads(context.threads);
  }

  Result run(const std::string& item, Progress& progress) override {
    const auto begin = std::chrono::steady_clock::now();
    Result result =
        make_item(plan_, ZooItem::parse(item), device_, [&](int64_t /*step*/) { progress.tick(); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    result.costs["train_and_evaluate_s"] = seconds.count();
    return result;
  }

 private:
  ZooPlan plan_;
  at::Device device_;
};

const bool zoo_executor_registered = [] {
  executor_registry().add("zoo", [](const ExecutorContext& context) -> std::unique_ptr<Executor> {
    return std::make_unique<ZooExecutor>(context);
  });
  return true;
}();

}  // namespace
}  // namespace fusegrid
