// A journal as it is, and with the checksums made right: they would keep everything else from being read.
#include "store/journal.h"

#include <cstring>

#include <zlib.h>

#include "core/result.h"
#include "fuzz/target.h"
#include "store/ledger.h"
#include "store/result_store.h"

namespace fusegrid::fuzz::journal {
namespace {

// docs/results_format.md, "Frames"
constexpr size_t kHeaderBytes = 24;
constexpr size_t kLengthAt = 8;
constexpr size_t kCrcFrom = 4;
constexpr size_t kCrcAt = 20;

void repair(std::string& journal) {
  for (size_t at = 0; at + kHeaderBytes <= journal.size();) {
    uint32_t length = 0;
    std::memcpy(&length, &journal[at + kLengthAt], sizeof(length));
    length = static_cast<uint32_t>(std::min<size_t>(length, journal.size() - at - kHeaderBytes));
    std::memcpy(&journal[at + kLengthAt], &length, sizeof(length));
    const auto* bytes = reinterpret_cast<const Bytef*>(&journal[at]);
    auto crc = crc32_z(0, bytes + kCrcFrom, kCrcAt - kCrcFrom);
    crc = crc32_z(crc, bytes + kHeaderBytes, length);
    const auto stored = static_cast<uint32_t>(crc);
    std::memcpy(&journal[at + kCrcAt], &stored, sizeof(stored));
    at += kHeaderBytes + length;
  }
}

void replay(const std::string& journal) {
  const std::string path = scratch_folder() + "/journal";
  write_file(path, journal);
  Ledger ledger;
  replay_journal(path, [&](FrameType type, uint64_t sequence, const nlohmann::json& payload) {
    ledger.apply(type, sequence, payload);
  });
}

void read(std::string_view bytes) {
  std::string journal(bytes);
  repair(journal);
  replay(journal);
  replay(std::string(bytes));
}

std::vector<std::string> seeds() {
  const std::string folder = scratch_folder() + "/seed";
  {
    const auto store = ResultStore::open(
        folder, {"grid", "plan", {{"argv", {"fusegrid", "run"}}, {"git", "1234abc"}}, {}, {}, {}});
    Result result;
    result.name = "zoo/experts=8/ties/seed=1/mnist@clean";
    result.metrics = {{"accuracy", "test", 0.5, 4}};
    result.facts = {{"weights_sha256", "abc"}};
    store->record(result);
    result.name = "zoo/experts=8/dare/seed=1/mnist@clean";
    result.status = Status::kFailed;
    result.metrics.clear();
    result.reason = "signal 11";
    store->record(result);
    store->publish();
  }
  return {read_file(folder + "/journal")};
}

const RegisterTarget registered{
    "journal", {read, seeds, {"FGGJ", "name", "metrics", "status", "facts", "\xa1", "\x9f", "\xbf"}}};

}  // namespace
}  // namespace fusegrid::fuzz::journal
