#include "comm/agreement.h"

#include <algorithm>
#include <cstring>

namespace fusegrid {
namespace {

constexpr size_t kHead = sizeof(uint64_t);  // length of the message, in front of its bytes

// "<exit code> <message>" of an error.
std::string text_of(const std::exception_ptr& error) {
  const auto with_code = [](ExitCode code, const std::string& message) {
    return std::to_string(static_cast<int>(code)) + " " + message;
  };
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return with_code(known.code(), known.what());
  } catch (const std::bad_alloc&) {
    return with_code(ExitCode::kIo, "out of memory; lower --memory-limit or use more ranks on other hosts");
  } catch (const std::exception& other) {
    return with_code(ExitCode::kIo, std::string("unexpected: ") + other.what());
  } catch (...) {
    return with_code(ExitCode::kIo, "unexpected: an exception of unknown type");
  }
}

}  // namespace

std::vector<std::string> all_gather_bytes(Collectives& group, const std::string& mine) {
  // The bytes travel as numbers that are only moved, never computed with.
  const uint64_t length = mine.size();
  std::vector<double> packed((kHead + mine.size() + sizeof(double) - 1) / sizeof(double), 0.0);
  auto* bytes = reinterpret_cast<char*>(packed.data());
  std::memcpy(bytes, &length, kHead);
  std::memcpy(bytes + kHead, mine.data(), mine.size());
  std::vector<std::string> all;
  for (const auto& part : group.all_gather(packed)) {
    const auto* theirs = reinterpret_cast<const char*>(part.data());
    uint64_t size = 0;
    std::memcpy(&size, theirs, kHead);
    all.emplace_back(theirs + kHead, size);
  }
  return all;
}

std::unique_ptr<Collectives> nccl_collectives_of(Collectives& group, int device) {
  const std::string id =
      on_all_ranks(group, [&] { return group.rank() == 0 ? nccl_unique_id() : std::string(); });
  return nccl_collectives(all_gather_bytes(group, id).front(), group.rank(), group.size(), device);
}

void agree(Collectives& group, const std::exception_ptr& error) {
  int64_t failed = error ? 1 : 0;
  group.all_reduce_sum(std::span<int64_t>(&failed, 1));
  if (failed == 0) {
    return;
  }
  const auto texts = all_gather_bytes(group, error ? text_of(error) : "");
  // what all ranks found wrong is no matter of one of them
  const bool common =
      std::all_of(texts.begin(), texts.end(), [&](const auto& text) { return text == texts[0]; });
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (const std::string& text = texts[rank]; !text.empty()) {
      const size_t space = text.find(' ');
      const std::string where = common ? "" : "rank " + std::to_string(rank) + ": ";
      throw AgreedError(static_cast<ExitCode>(std::stoi(text)), where + text.substr(space + 1));
    }
  }
  FUSEGRID_ASSERT(false, "a rank failed without an error");
}

}  // namespace fusegrid
