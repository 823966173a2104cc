#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fusegrid {

// A message between the coordinator (rank 0) and a worker. The payload is opaque bytes (CBOR,
// worker/protocol.h).
struct Message {
  int peer = 0;  // sender of a received message
  std::string bytes;
};

// Ordered, reliable messages between ranks. One thread per rank uses it. Losing a peer is never an error here
// (MPI cannot tell): callers bound every wait by a deadline.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string host() const = 0;
  // The ranks that share this rank's host, the coordinator not counted: how many there are, and the index of
  // this one among them (-1 on rank 0). Chooses the GPU.
  virtual int local_worker() const = 0;
  virtual int local_workers() const = 0;
  // Returns at once; the bytes are copied.
  virtual void send(int peer, std::string bytes) = 0;
  // Waits at most `timeout` (0: looks once); sleeps while it waits, so that an idle rank burns no core.
  virtual std::optional<Message> receive(std::chrono::microseconds timeout) = 0;
  // Ends every rank now, with exit status `status`; for a rank that cannot leave in step with the others.
  // With MPI it does not return; in one process it does nothing, and the caller leaves.
  virtual void abort(int status) = 0;
};

// Ranks of one process as threads: `mpirun`-less runs, and protocol tests. Entry r is rank r's end.
std::vector<std::unique_ptr<Transport>> in_process_transports(int ranks);

// MPI_COMM_WORLD. Owns MPI: initialises on construction and finalises on destruction (which waits for the
// other ranks to do the same), once per process.
std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv);

// True where the process was started by mpirun or srun (their environment says so); then MPI is used.
bool launched_by_mpi();

}  // namespace fusegrid
