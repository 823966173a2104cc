#include "worker/protocol.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

Result full_result() {
  Result result;
  result.name = "zoo/experts=8/ties{density=0.2}/seed=0/mnist@clean";
  result.status = Status::kInvalid;
  result.reason = "NaN";
  result.metrics = {{"accuracy", "test", 0.1 + 0.2, 512}};
  result.outcomes = {{"test", "accuracy", 1, {0, 1, 1}}};
  result.predictions = {{"test", {1, 2, 65535}}};
  result.facts = {{"weights_sha256", "abc"}};
  result.costs = {{"fuse_s", 1.25}};
  return result;
}

TEST(Protocol, CarriesSettings) {
  const WorkerSettings sent{
      7, "grid", {{"zoo", "a"}, {"scale", 0.3}}, "cuda", 4, true, 1000, 2000, 1 << 30, true, "logs", true};

  const ToWorker read = decode_to_worker(encode(ToWorker(Begin{sent})));

  const auto& got = std::get<Begin>(read).settings;
  EXPECT_EQ(got.epoch, 7);
  EXPECT_EQ(got.executor_kind, "grid");
  EXPECT_EQ(got.executor_settings, sent.executor_settings);
  EXPECT_EQ(got.device, "cuda");
  EXPECT_EQ(got.threads, 4);
  EXPECT_TRUE(got.inline_executor);
  EXPECT_EQ(got.stall_timeout_ms, 1000);
  EXPECT_EQ(got.silence_limit_ms, 2000);
  EXPECT_EQ(got.memory_limit_bytes, 1 << 30);
  EXPECT_TRUE(got.core_dumps);
  EXPECT_EQ(got.log_folder, "logs");
  EXPECT_TRUE(got.teams);
}

TEST(Protocol, CarriesResultsWithoutLoss) {
  const Done sent{3, 12, full_result().name, true, full_result(), {}};

  const auto read = std::get<Done>(decode_to_coordinator(encode(ToCoordinator(sent))));

  EXPECT_EQ(nlohmann::json(read.result), nlohmann::json(full_result()));
  EXPECT_EQ(read.result.metrics[0].value, 0.1 + 0.2);
  EXPECT_EQ(read.result.outcomes[0].rows, full_result().outcomes[0].rows);
  EXPECT_EQ(read.result.predictions[0].classes, full_result().predictions[0].classes);
  EXPECT_EQ(read.token, 12);
}

TEST(Protocol, CarriesTeamsAndTheirBytes) {
  const std::string bytes("\0\xff\x80 any", 7);

  const auto run = std::get<Assign>(decode_to_worker(encode(ToWorker(Assign{1, "x", 1, 0, {5, {3, 1, 2}}}))));
  const auto relay = std::get<Relay>(decode_to_worker(encode(ToWorker(Relay{1, 2, 3, 4, bytes}))));
  const auto in = std::get<ExecutorRelay>(decode_to_executor(encode(ToExecutor(ExecutorRelay{2, 3, bytes}))));
  const auto out =
      std::get<ExecutorRelay>(decode_from_executor(encode(FromExecutor(ExecutorRelay{2, 3, ""}))));
  const auto start = std::get<ExecutorRun>(decode_to_executor(encode(ToExecutor(ExecutorRun{"x", 5, 1, 3}))));

  EXPECT_EQ(run.team.id, 5);
  EXPECT_EQ(run.team.ranks, (std::vector<int>{3, 1, 2}));
  EXPECT_EQ(relay.epoch, 1);
  EXPECT_EQ(relay.team, 2);
  EXPECT_EQ(relay.member, 3);
  EXPECT_EQ(relay.number, 4);
  EXPECT_EQ(relay.bytes, bytes);
  EXPECT_EQ(in.team, 2);
  EXPECT_EQ(in.member, 3);
  EXPECT_EQ(in.bytes, bytes);
  EXPECT_EQ(out.bytes, "");
  EXPECT_EQ(start.team, 5);
  EXPECT_EQ(start.member, 1);
  EXPECT_EQ(start.members, 3);
}

TEST(Protocol, TellsAllTypesApart) {
  EXPECT_EQ(std::get<Assign>(decode_to_worker(encode(ToWorker(Assign{4, "item", 2, 3, {}})))).item, "item");
  EXPECT_EQ(std::get<Ping>(decode_to_worker(encode(ToWorker(Ping{9})))).recorded, 9);
  EXPECT_EQ(std::get<Cancel>(decode_to_worker(encode(ToWorker(Cancel{7})))).token, 7);
  EXPECT_EQ(std::get<Stop>(decode_to_worker(encode(ToWorker(Stop{5})))).epoch, 5);
  const auto hello =
      std::get<Hello>(decode_to_coordinator(encode(ToCoordinator(Hello{1, "h", "d", "k", "e", "w"}))));
  EXPECT_EQ(hello.kind, "k");
  EXPECT_EQ(hello.error, "e");
  EXPECT_EQ(std::get<Pong>(decode_to_coordinator(encode(ToCoordinator(Pong{1, 6})))).seen, 6);
  EXPECT_EQ(std::get<Bye>(decode_to_coordinator(encode(ToCoordinator(Bye{8})))).epoch, 8);
  EXPECT_EQ(std::get<ExecutorRun>(decode_to_executor(encode(ToExecutor(ExecutorRun{"x"})))).item, "x");
  EXPECT_EQ(std::get<ExecutorProgress>(decode_from_executor(encode(FromExecutor(ExecutorProgress{3})))).count,
            3U);
}

TEST(Protocol, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(decode_to_worker(""), DataError);
  EXPECT_THROW(decode_to_worker("hello"), DataError);
  const std::string good = encode(ToWorker(Assign{4, "item", 2, 3, {}}));
  EXPECT_THROW(decode_to_worker(good.substr(0, good.size() - 1)), DataError);
  EXPECT_THROW(decode_to_worker(good + "x"), DataError);
  const auto unknown = nlohmann::json::to_cbor(nlohmann::json::array({99, nullptr}));
  EXPECT_THROW(decode_to_worker(std::string(unknown.begin(), unknown.end())), DataError);
}

}  // namespace
}  // namespace fusegrid
