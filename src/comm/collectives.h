#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Collective operations of one group of executors that fuse one model together. Every rank of the group must
// make the same calls in the same order; all calls block. Nothing here sums floating-point numbers in an
// order that depends on the number of ranks: integer sums are exact, and floating parts are gathered and
// added in fixed order by the caller.
class Collectives {
 public:
  virtual ~Collectives() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;  // "local", "threads", "mpi", "nccl", "channel"

  virtual void barrier() = 0;
  // values[i] becomes the sum over ranks; exact.
  virtual void all_reduce_sum(std::span<int64_t> values) = 0;
  // Every rank contributes `mine`; returns all contributions, in rank order (they may differ in length).
  virtual std::vector<std::vector<double>> all_gather(std::span<const double> mine) = 0;
  // In place, on the tensor's device (contiguous; device of the group). Sum over ranks in the library's own
  // order: its bits may depend on the number of ranks for floating types.
  virtual void all_reduce_sum(at::Tensor& tensor) = 0;
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
};

std::unique_ptr<Collectives> local_collectives();

// Ranks as threads of one process; entry r is for thread r. For tests.
std::vector<std::unique_ptr<Collectives>> thread_collectives(int ranks);

// The ranks of MPI_COMM_WORLD from `first_rank` on (all of them must call). MPI must be initialised.
std::unique_ptr<Collectives> mpi_collectives(int first_rank);

// NCCL on CUDA device `device` (index). `id` is the group's unique id: made by rank 0 with nccl_unique_id()
// and handed to the others (comm/agreement.h has a function that does so). Throws DeviceError where the program
// was built without NCCL, and on any NCCL error or deadline.
bool built_with_nccl();
std::string nccl_unique_id();
std::unique_ptr<Collectives> nccl_collectives(const std::string& id, int rank, int size, int device);

}  // namespace fusegrid
