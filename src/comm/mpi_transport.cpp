#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <list>
#include <thread>

#include "comm/mpi_check.h"
#include "comm/transport.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr int kTag = 7;
constexpr microseconds kShortestPause{20};
constexpr microseconds kLongestPause{1000};
// After traffic more is to be expected: so long, sleeps stay short. Growing at once, the two ends of a conversation
// drive each other to the longest sleep: each waits twice as long as the other took to look.
constexpr microseconds kLively{3000};
constexpr std::chrono::seconds kFlushDeadline{5};

// A message on its way out: MPI reads the bytes until the request completes.
struct Outgoing {
  std::string bytes;
  MPI_Request request = MPI_REQUEST_NULL;
};

class MpiTransport : public Transport {
 public:
  MpiTransport(int* argc, char*** argv) {
    int provided = 0;
    // MULTIPLE is wanted by comm/requests.h alone, which looks whether it was given
    check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    if (provided < MPI_THREAD_FUNNELED) {
      std::cerr << "fusegrid: this MPI library supports no threads (level " << provided << ")\n";
      MpiTransport::abort(static_cast<int>(ExitCode::kConfig));
    }
    std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
    int length = 0;
    check_mpi(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
    host_.assign(name.data(), length);
    count_local_workers();
  }

  ~MpiTransport() override {
    const auto deadline = steady_clock::now() + kFlushDeadline;
    for (reap(); !outgoing_.empty() && steady_clock::now() < deadline; reap()) {
      std::this_thread::sleep_for(kLongestPause);
    }
    if (!outgoing_.empty()) {
      std::cerr << "fusegrid: rank " << rank_ << ": " << outgoing_.size()
                << " messages were not taken by their receivers\n";
    }
    check_mpi(MPI_Finalize(), "MPI_Finalize");
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string host() const override { return host_; }
  int local_worker() const override { return local_worker_; }
  int local_workers() const override { return local_workers_; }

  void send(int peer, std::string bytes) override {
    FUSEGRID_ASSERT(bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()),
                    "a message of " + std::to_string(bytes.size()) + " bytes");
    reap();
    last_traffic_ = steady_clock::now();
    Outgoing& out = outgoing_.emplace_back();
    out.bytes = std::move(bytes);
    // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): reap() tests the request until it is done
    check_mpi(MPI_Isend(out.bytes.data(), static_cast<int>(out.bytes.size()), MPI_BYTE, peer, kTag,
                        MPI_COMM_WORLD, &out.request),
              "MPI_Isend");
  }

  std::optional<Message> receive(microseconds timeout) override {
    const auto deadline = steady_clock::now() + timeout;
    microseconds sleep = kShortestPause;
    while (true) {
      reap();
      auto message = look();
      const auto now = steady_clock::now();
      if (message) {
        last_traffic_ = now;
        return message;
      }
      const auto left = std::chrono::duration_cast<microseconds>(deadline - now);
      if (left <= microseconds::zero()) {
        return std::nullopt;
      }
      std::this_thread::sleep_for(std::min(sleep, left));
      sleep = now - last_traffic_ < kLively ? kShortestPause : std::min(2 * sleep, kLongestPause);
    }
  }

  void abort(int status) override {
    MPI_Abort(MPI_COMM_WORLD, status);
    std::abort();  // MPI_Abort may return where the launcher was told to survive failures
  }

 private:
  // The receiver of a message need not have come to it: nothing waits, done requests are let go.
  void reap() {
    outgoing_.remove_if([](Outgoing& out) {
      int done = 0;
      check_mpi(MPI_Test(&out.request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      return done != 0;
    });
  }

  std::optional<Message> look() {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &found, &status), "MPI_Iprobe");
    if (found == 0) {
      return std::nullopt;
    }
    int bytes = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
    Message message{status.MPI_SOURCE, std::string(bytes, '\0')};
    check_mpi(MPI_Recv(message.bytes.data(), bytes, MPI_BYTE, status.MPI_SOURCE, kTag, MPI_COMM_WORLD,
                       MPI_STATUS_IGNORE),
              "MPI_Recv");
    return message;
  }

  void count_local_workers() {
    MPI_Comm node = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
              "MPI_Comm_split_type");
    int local_size = 0;
    check_mpi(MPI_Comm_size(node, &local_size), "MPI_Comm_size");
    std::vector<int> ranks(local_size);
    check_mpi(MPI_Allgather(&rank_, 1, MPI_INT, ranks.data(), 1, MPI_INT, node), "MPI_Allgather");
    check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
    for (const int rank : ranks) {
      local_workers_ += rank != 0;
      local_worker_ += rank != 0 && rank <= rank_;
    }
    local_worker_ = rank_ == 0 ? -1 : local_worker_;
  }

  int rank_ = 0, size_ = 1;
  int local_worker_ = -1, local_workers_ = 0;
  std::string host_;
  std::list<Outgoing> outgoing_;
  steady_clock::time_point last_traffic_;
};

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0, rank = -1;
  MPI_Error_string(code, text.data(), &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  std::cerr << "fusegrid: " << call << " failed on rank " << rank << ": " << text.data() << "\n";
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::kIo));
  std::abort();
}

std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv) {
  return std::make_unique<MpiTransport>(argc, argv);
}

bool launched_by_mpi() {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  // srun sets SLURM_PROCID for every program; PMI tells that it also serves MPI.
  return set("OMPI_COMM_WORLD_SIZE") || set("PMI_SIZE") || set("PMIX_RANK") ||
         (set("SLURM_PROCID") && (set("PMI_RANK") || set("PMI_FD") || set("PMIX_NAMESPACE")));
}

}  // namespace fusegrid
