#include "worker/protocol.h"

#include "core/errors.h"

namespace fusegrid {

using nlohmann::json;

// Found by argument-dependent lookup, hence in the structs' namespace.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Failure, kind, message, log_tail, exit_code)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerSettings, epoch, executor_kind, executor_settings, device, threads,
                                   inline_executor, stall_timeout_ms, silence_limit_ms, memory_limit_bytes,
                                   core_dumps, log_folder, teams)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Begin, settings)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Team, id, ranks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Assign, token, item, attempt, recorded, team)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Cancel, token)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Ping, recorded)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Stop, epoch)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hello, epoch, host, device, kind, error, warning)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Done, epoch, token, item, ok, result, failure)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Pong, epoch, seen)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Bye, epoch)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutorStart, kind, settings, device, threads, progress_ms)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutorRun, item, team, member, members)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutorProgress, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutorResult, result)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutorFailure, failure)

// By hand: a team's messages are bytes, not text.
static json binary(const std::string& bytes) {
  return json::binary(std::vector<uint8_t>(bytes.begin(), bytes.end()));
}
static std::string bytes_of(const json& value) {
  const auto& bytes = value.get_binary();
  return {bytes.begin(), bytes.end()};
}
static void to_json(json& fields, const Relay& relay) {
  fields = json::array({relay.epoch, relay.team, relay.member, relay.number, binary(relay.bytes)});
}
static void from_json(const json& fields, Relay& relay) {
  relay = {fields.at(0).get<int64_t>(), fields.at(1).get<int64_t>(), fields.at(2).get<int>(),
           fields.at(3).get<int64_t>(), bytes_of(fields.at(4))};
}
static void to_json(json& fields, const ExecutorRelay& relay) {
  fields = json::array({relay.team, relay.member, binary(relay.bytes)});
}
static void from_json(const json& fields, ExecutorRelay& relay) {
  relay = {fields.at(0).get<int64_t>(), fields.at(1).get<int>(), bytes_of(fields.at(2))};
}

namespace {

template <typename Variant>
std::string encode_variant(const Variant& message) {
  const json fields = std::visit([](const auto& alternative) { return json(alternative); }, message);
  std::string bytes;
  json::to_cbor(json::array({message.index(), fields}), nlohmann::detail::output_adapter<char>(bytes));
  return bytes;
}

template <typename Variant, size_t Index = 0>
Variant decode_fields(size_t index, const json& fields) {
  if constexpr (Index < std::variant_size_v<Variant>) {
    return index == Index ? Variant(fields.get<std::variant_alternative_t<Index, Variant>>())
                          : decode_fields<Variant, Index + 1>(index, fields);
  } else {
    throw DataError("a message has the unknown type " + std::to_string(index));
  }
}

template <typename Variant>
Variant decode_variant(const std::string& bytes) {
  try {
    const json message = json::from_cbor(bytes);
    return decode_fields<Variant>(message.at(0).get<size_t>(), message.at(1));
  } catch (const json::exception& error) {
    throw DataError(std::string("a message cannot be read: ") + error.what());
  }
}

}  // namespace

std::string encode(const ToWorker& message) {
  return encode_variant(message);
}
std::string encode(const ToCoordinator& message) {
  return encode_variant(message);
}
std::string encode(const ToExecutor& message) {
  return encode_variant(message);
}
std::string encode(const FromExecutor& message) {
  return encode_variant(message);
}
ToWorker decode_to_worker(const std::string& bytes) {
  return decode_variant<ToWorker>(bytes);
}
ToCoordinator decode_to_coordinator(const std::string& bytes) {
  return decode_variant<ToCoordinator>(bytes);
}
ToExecutor decode_to_executor(const std::string& bytes) {
  return decode_variant<ToExecutor>(bytes);
}
FromExecutor decode_from_executor(const std::string& bytes) {
  return decode_variant<FromExecutor>(bytes);
}

}  // namespace fusegrid
