#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace fusegrid {

// Questions between ranks that threads of the asked rank answer, whatever its other threads do meanwhile: for data
// that only one rank has and others need at moments of their own. Collective operations go on beside it.
class Requests {
 public:
  // Bytes for a question of another rank, exactly `size` of them; several threads call it at once. What it throws is
  // thrown to the asker.
  using Answer = std::function<void(const std::string& question, void* destination, size_t size)>;

  virtual ~Requests() = default;
  // Asks `rank` and waits for `size` bytes; any thread may call it. Throws Error with the code and the message of what
  // answering threw, after the name of the rank.
  virtual void ask(int rank, const std::string& question, void* destination, size_t size) = 0;
  // Collective: every rank calls it when it asks no more; returns when no rank does. Without it, the end of the object
  // leaves questions of others unanswered, which is right only where the job is aborted.
  virtual void finish() = 0;
};

// Between the ranks of MPI_COMM_WORLD; all of them must call. `threads` answer on each rank, in its order of arrival.
// Throws ConfigError where the MPI library does not allow several threads to call it.
std::unique_ptr<Requests> mpi_requests(int threads, Requests::Answer answer);

}  // namespace fusegrid
