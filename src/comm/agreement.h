#pragma once

#include <exception>
#include <string>
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

// Every rank contributes bytes; returns all contributions, in rank order. Every rank of the group must call it.
std::vector<std::string> all_gather_bytes(Collectives& group, const std::string& mine);

// The ranks of `group`, each with a GPU of its own, as a group of NCCL, whose id goes through `group`. Every rank of
// the group must call it. Throws as agree() and nccl_collectives().
std::unique_ptr<Collectives> nccl_collectives_of(Collectives& group, int device);

}  // namespace fusegrid
