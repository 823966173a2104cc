// The executor that does nothing: a fixed tiny result per item. Measures what the system itself costs, and
// rehearses faults without models.
#include <chrono>
#include <thread>

#include "worker/executor.h"

namespace fusegrid {
namespace {

class NullExecutor : public Executor {
 public:
  explicit NullExecutor(const nlohmann::json& settings)
      : work_(settings.is_object() ? settings.value("work_us", int64_t{0}) : 0) {}

  Result run(const std::string& item, Progress& progress) override {
    if (work_.count() > 0) {
      std::this_thread::sleep_for(work_);
    }
    progress.tick();
    Result result;
    result.name = item;
    result.metrics = {{"items", "test", 1.0, 1}};
    return result;
  }

 private:
  std::chrono::microseconds work_;  // slept per item
};

const bool null_executor_registered = [] {
  executor_registry().add("null", [](const ExecutorContext& context) {
    return std::make_unique<NullExecutor>(context.settings);
  });
  return true;
}();

}  // namespace
}  // namespace fusegrid
