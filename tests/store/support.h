#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/result.h"
#include "store/file.h"
#include "store/result_store.h"
#include "support/temporary_folder.h"

namespace fusegrid::test {

namespace fs = std::filesystem;

inline std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

inline std::string cell_name(int i) {
  return "zoo-small/experts=8/ties{density=0.2,scale=" + std::to_string(i) + "}/seed=1/mnist@clean";
}

// Result i of a grid; the same on every call but for costs, attempts and worker if `run` differs.
inline Result make_result(int i, int run = 0) {
  Result result;
  result.name = cell_name(i);
  result.metrics = {
      {"loss", "test", 0.1 * i, 5}, {"accuracy", "test", 1.0 / (i + 1), 5}, {"accuracy", "val", 0.5, 3}};
  result.outcomes = {{"test", "accuracy", 1, {1, 0, 1, 0, 1}},
                     {"test", "depth", 2, {0.5F, 9, 1.5F, 9, -2, 9, 0, 9, 3, static_cast<float>(i)}},
                     {"val", "accuracy", 1, {0, 0, 1}}};
  result.predictions = {{"test", {1, 2, 3, 4, i}}, {"val", {7, 8, 9}}};
  result.bindings = {{"parameters", "density=0.2,scale=" + std::to_string(i) + ",merge=sum"}};
  result.facts = {{"weights_sha256", "abc" + std::to_string(i)}, {"coefficients", "[0.1, 0.2]"}};
  result.costs = {{"load_s", 0.25 + run}, {"fuse_s", 1.5 * run}};
  result.attempts = 1 + run;
  result.worker = "host/rank" + std::to_string(run);
  return result;
}

inline Result make_failed(int i) {
  Result result;
  result.name = cell_name(i);
  result.status = Status::kFailed;
  result.reason = "signal 11";
  result.log_tail = "the last words\n";
  result.transient = i % 2 == 0;
  result.bindings = make_result(i).bindings;
  return result;
}

inline RunInfo grid_run() {
  return {"grid",
          "plan",
          {{"argv", {"fusegrid", "run"}}, {"git", "1234abc"}, {"started", "2026-01-31T12:00:00Z"}},
          {{"zoo-small/1/base", "aa"}, {"precision", "fp32"}},
          {{"ties", "TIES", "NeurIPS 2023", "task vector", "", "one model", false}},
          {{"zoo-small", "mnist", "classify", "accuracy", "higher", "fraction", "Digits"}}};
}

inline ExamplesRecord some_examples() {
  return {"zoo-small", "mnist", "test", {1, 0, 3, 4, 2}, {10, 10, 11, 4000000000, 11}};
}

inline bool same(const Result& a, const Result& b) {
  return nlohmann::json(a) == nlohmann::json(b);
}

// How a forked child that runs `work` ends, as waitpid tells.
inline int in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

// The message of the error of type E that `work` must throw.
template <typename E>
std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return {};
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace fusegrid::test
