#include "worker/item_runner.h"

#include <cstdio>
#include <iostream>
#include <new>

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include "comm/team_channel.h"
#include "core/errors.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

constexpr size_t kMessageBytes = 2000;

Failure failure(const std::string& kind, std::string message) {
  if (message.size() > kMessageBytes) {
    message.resize(kMessageBytes);
    message += " ...";
  }
  return {kind, std::move(message), ""};
}

// LibTorch's CPU allocator throws a plain c10::Error.
bool speaks_of_memory(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("not enough memory") != std::string::npos;
}

}  // namespace

Outcome ItemRunner::open() {
  try {
    if (start_.device.starts_with("cuda")) {
      load_cuda();
    }
    return Result{};
  } catch (const std::exception& error) {
    return failure("device", error.what());
  }
}

Outcome ItemRunner::run(const ExecutorRun& run, TeamChannel* team) {
  Outcome outcome;
  try {
    outcome = run_unguarded(run.item, team);
  } catch (const c10::OutOfMemoryError& error) {
    outcome = failure("memory", std::string("out of memory: ") + error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    outcome = speaks_of_memory(text) ? failure("memory", "out of memory: " + text)
                                     : failure("exception", "exception: " + text);
  } catch (const std::bad_alloc&) {
    outcome = failure("memory", "out of memory (std::bad_alloc)");
  } catch (const InputError& error) {
    outcome = failure("input", error.what());
    std::get<Failure>(outcome).exit_code = static_cast<int>(error.code());
  } catch (const IoError& error) {
    outcome = failure("io", error.what());
  } catch (const std::exception& error) {
    outcome = failure("exception", std::string("exception: ") + error.what());
  } catch (...) {
    outcome = failure("exception", "exception of a type that is no std::exception");
  }
  const auto* failed = std::get_if<Failure>(&outcome);
  if (failed != nullptr && failed->kind == "memory") {
    executor_.reset();  // it may hold what filled the memory
  }
  return outcome;
}

Result ItemRunner::run_unguarded(const std::string& item, TeamChannel* team) {
  if (!executor_) {
    at::set_num_threads(start_.threads);
    executor_ =
        executor_registry().at(start_.kind)({start_.settings, start_.device, start_.threads, &progress_});
  }
  progress_.tick();
  if (team != nullptr) {
    executor_->prepare(item, *team, progress_);
    if (team->rank() > 0) {
      Result helped;
      helped.name = item;
      return helped;
    }
  }
  Result result = executor_->run(item, progress_);
  if (result.name != item) {
    throw std::logic_error("executor '" + start_.kind + "' was asked for " + item +
                           " and returned a result of '" + result.name + "'");
  }
  return result;
}

}  // namespace fusegrid
