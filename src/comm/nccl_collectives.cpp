#include "comm/collectives.h"
#include "core/errors.h"

#ifdef FUSEGRID_WITH_NCCL

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 14, 0)
#error "NCCL 2.14 or newer is needed (non-blocking communicators); configure with -DFUSEGRID_NCCL=off"
#endif

namespace fusegrid {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kInitDeadline{120};
constexpr std::chrono::seconds kOperationDeadline{600};
constexpr std::chrono::microseconds kPollSleep{20};

[[noreturn]] void fail(const std::string& call, int rank, const std::string& reason) {
  throw DeviceError(call + " failed on rank " + std::to_string(rank) + " of the group: " + reason +
                    ". Set NCCL_DEBUG=INFO to see NCCL's own messages");
}

void check_cuda(cudaError_t code, const char* call, int rank) {
  if (code != cudaSuccess) {
    fail(call, rank, cudaGetErrorString(code));
  }
}

// Device memory that grows as needed: staging of the operations on host arrays.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(int rank) : rank_(rank) {}
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* at_least(size_t bytes) {
    if (bytes > size_) {
      check_cuda(cudaFree(data_), "cudaFree", rank_);
      data_ = nullptr;
      size_ = 0;
      check_cuda(cudaMalloc(&data_, bytes), "cudaMalloc", rank_);
      size_ = bytes;
    }
    return data_;
  }

 private:
  int rank_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

ncclDataType_t nccl_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    default:
      FUSEGRID_ASSERT(false, std::string("no sums over ranks of ") + at::toString(type));
  }
}

// The communicator is non-blocking: a call may return before its work is even enqueued, and a dead peer would
// block a blocking one for ever. So every call is followed by a poll with a deadline.
class NcclCollectives : public Collectives {
 public:
  NcclCollectives(const std::string& id, int rank, int size, int device)
      : rank_(rank), size_(size), device_(device), send_(rank), receive_(rank) {
    ncclUniqueId unique;
    if (id.size() != sizeof(unique.internal)) {
      throw DeviceError("a NCCL id has " + std::to_string(sizeof(unique.internal)) + " bytes, this one " +
                        std::to_string(id.size()));
    }
    std::memcpy(unique.internal, id.data(), id.size());
    use_device();
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags",
               rank_);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    try {
      settle(ncclCommInitRankConfig(&comm_, size, unique, rank, &config), "ncclCommInitRankConfig",
             kInitDeadline);
    } catch (...) {
      release();
      throw;
    }
  }
  ~NcclCollectives() override { release(); }
  NcclCollectives(const NcclCollectives&) = delete;
  NcclCollectives& operator=(const NcclCollectives&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "nccl"; }

  void barrier() override {
    int64_t token = 0;
    all_reduce_sum(std::span<int64_t>(&token, 1));
  }

  void all_reduce_sum(std::span<int64_t> values) override {
    if (values.empty()) {
      return;
    }
    use_device();
    void* data = send_.at_least(values.size_bytes());
    to_device(data, values.data(), values.size_bytes());
    settle(ncclAllReduce(data, data, values.size(), ncclInt64, ncclSum, comm_, stream_), "ncclAllReduce",
           kOperationDeadline);
    to_host(values.data(), data, values.size_bytes());
    wait("ncclAllReduce");
  }

  std::vector<std::vector<double>> all_gather(std::span<const double> mine) override {
    std::vector<int64_t> lengths(size_, 0);  // contributions may differ in length; NCCL's may not
    lengths[rank_] = static_cast<int64_t>(mine.size());
    all_reduce_sum(std::span<int64_t>(lengths));
    const size_t longest = *std::max_element(lengths.begin(), lengths.end());
    std::vector<double> flat(longest * size_);
    if (longest > 0) {
      gather(mine, longest, flat);
    }
    std::vector<std::vector<double>> all;
    for (int rank = 0; rank < size_; ++rank) {
      const auto begin = flat.begin() + static_cast<int64_t>(longest) * rank;
      all.emplace_back(begin, begin + lengths[rank]);
    }
    return all;
  }

  void all_reduce_sum(at::Tensor& tensor) override {
    expect_here(tensor);
    settle(ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), tensor.numel(),
                         nccl_type(tensor.scalar_type()), ncclSum, comm_, stream_),
           "ncclAllReduce", kOperationDeadline);
    wait("ncclAllReduce");
  }

  void broadcast(at::Tensor& tensor, int root) override {
    expect_here(tensor);
    settle(
        ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root, comm_, stream_),
        "ncclBroadcast", kOperationDeadline);
    wait("ncclBroadcast");
  }

 private:
  void use_device() const { check_cuda(cudaSetDevice(device_), "cudaSetDevice", rank_); }

  void expect_here(const at::Tensor& tensor) const {
    FUSEGRID_ASSERT(tensor.is_contiguous() && tensor.is_cuda() && tensor.device().index() == device_,
                    "the tensor must be contiguous, on the device of the group");
    use_device();
    // The tensor's values may still be on their way on LibTorch's stream.
    c10::impl::VirtualGuardImpl(at::kCUDA).getStream(tensor.device()).synchronize();
  }

  void gather(std::span<const double> mine, size_t longest, std::vector<double>& flat) {
    use_device();
    void* data = send_.at_least(longest * sizeof(double));
    void* all = receive_.at_least(flat.size() * sizeof(double));
    to_device(data, mine.data(), mine.size_bytes());
    settle(ncclAllGather(data, all, longest, ncclFloat64, comm_, stream_), "ncclAllGather",
           kOperationDeadline);
    to_host(flat.data(), all, flat.size() * sizeof(double));
    wait("ncclAllGather");
  }

  void to_device(void* device, const void* host, size_t bytes) {
    check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync",
               rank_);
  }

  // Copies to pageable memory may block until the stream has come to them: by then the operation before them
  // must be known to run, so that the wait with the deadline comes first.
  void to_host(void* host, const void* device, size_t bytes) {
    wait("the operation before a copy to the host");
    check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync",
               rank_);
  }

  // Until the call has been taken over by NCCL.
  void settle(ncclResult_t result, const char* call, std::chrono::seconds limit) {
    const auto deadline = steady_clock::now() + limit;
    while (result == ncclInProgress) {
      if (steady_clock::now() > deadline) {
        give_up(call, "no answer of the other ranks within " + std::to_string(limit.count()) + " s");
      }
      std::this_thread::sleep_for(kPollSleep);
      const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
      result = asked == ncclSuccess ? result : asked;
    }
    if (result != ncclSuccess) {
      give_up(call, describe(result));
    }
  }

  // Until everything on the stream is done; NCCL reports the loss of a peer only through its asynchronous
  // error, and often not at all.
  void wait(const char* call) {
    const auto deadline = steady_clock::now() + kOperationDeadline;
    cudaError_t state = cudaErrorNotReady;
    while ((state = cudaStreamQuery(stream_)) == cudaErrorNotReady) {
      ncclResult_t error = ncclSuccess;
      const ncclResult_t asked = ncclCommGetAsyncError(comm_, &error);
      error = asked == ncclSuccess ? error : asked;
      if (error != ncclSuccess && error != ncclInProgress) {
        give_up(call, describe(error));
      }
      if (steady_clock::now() > deadline) {
        give_up(call, "not finished within " + std::to_string(kOperationDeadline.count()) + " s");
      }
      std::this_thread::sleep_for(kPollSleep);
    }
    check_cuda(state, call, rank_);
  }

  std::string describe(ncclResult_t result) const {
    return std::string(ncclGetErrorString(result)) + " (" + ncclGetLastError(comm_) + ")";
  }

  // After an error nothing of the communicator can be used: aborting is the only call allowed.
  [[noreturn]] void give_up(const char* call, const std::string& reason) {
    broken_ = true;
    fail(call, rank_, reason);
  }

  // Destroying a communicator waits for the other ranks; one that broke is aborted instead.
  void release() {
    if (comm_ != nullptr && !broken_) {
      ncclResult_t result = ncclCommFinalize(comm_);
      const auto deadline = steady_clock::now() + kInitDeadline;
      while (result == ncclInProgress && steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kPollSleep);
        if (ncclCommGetAsyncError(comm_, &result) != ncclSuccess) {
          result = ncclSystemError;
        }
      }
      broken_ = result != ncclSuccess;
    }
    if (comm_ != nullptr) {
      // A destructor cannot report; the communicator is gone either way.
      static_cast<void>(broken_ ? ncclCommAbort(comm_) : ncclCommDestroy(comm_));
      comm_ = nullptr;
    }
    if (stream_ != nullptr) {
      cudaStreamDestroy(stream_);
      stream_ = nullptr;
    }
  }

  int rank_, size_, device_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  DeviceBuffer send_, receive_;
  bool broken_ = false;
};

}  // namespace

bool built_with_nccl() {
  return true;
}

std::string nccl_unique_id() {
  ncclUniqueId id;
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess) {
    fail("ncclGetUniqueId", 0, ncclGetErrorString(result));
  }
  return {id.internal, sizeof(id.internal)};
}

std::unique_ptr<Collectives> nccl_collectives(const std::string& id, int rank, int size, int device) {
  return std::make_unique<NcclCollectives>(id, rank, size, device);
}

}  // namespace fusegrid

#else  // without NCCL

namespace fusegrid {
namespace {
[[noreturn]] void without_nccl() {
  throw DeviceError(
      "this program was built without NCCL, which collectives on GPUs need: configure it with "
      "-DFUSEGRID_NCCL=on where the CUDA toolkit and NCCL are installed");
}
}  // namespace

bool built_with_nccl() {
  return false;
}

std::string nccl_unique_id() {
  without_nccl();
}

std::unique_ptr<Collectives> nccl_collectives(const std::string&, int, int, int) {
  without_nccl();
}

}  // namespace fusegrid

#endif
