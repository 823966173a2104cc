#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "comm/collectives.h"
#include "core/errors.h"

namespace fusegrid {

// An error of one rank, thrown on every rank of the group at the same place: nobody waits for anybody.
struct AgreedError : Error {
  AgreedError(ExitCode code, const std::string& message) : Error(code, message) {}
};

// Throws AgreedError on all ranks where any of them has an `error` (that of the lowest such rank), returns on all
// where none has. Every rank of the group must call it.
void agree(Collectives& group, const std::exception_ptr& error);

// Runs `action` on every rank and returns what it returns; what one of them throws ends all of them, as agree() does.
template <typename Action>
auto on_all_ranks(Collectives& group, const Action& action) {
  using Made = decltype(action());
  [[maybe_unused]] std::conditional_t<std::is_void_v<Made>, std::monostate, std::optional<Made>> made;
  std::exception_ptr error;
  try {
    if constexpr (std::is_void_v<Made>) {
      action();
    } else {
      made.emplace(action());
    }
  } catch (...) {
    error = std::current_exception();
  }
  agree(group, error);
  if constexpr (!std::is_void_v<Made>) {
    return std::move(*made);
  }
}

// Every rank contributes bytes; returns all contributions, in rank order. Every rank of the group must call it.
std::vector<std::string> all_gather_bytes(Collectives& group, const std::string& mine);

// The ranks of `group`, each with a GPU of its own, as a group of NCCL, whose id goes through `group`. Every rank of
// the group must call it. Throws as agree() and nccl_collectives().
std::unique_ptr<Collectives> nccl_collectives_of(Collectives& group, int device);

}  // namespace fusegrid
