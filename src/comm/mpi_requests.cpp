#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "comm/mpi_check.h"
#include "comm/requests.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using std::chrono::microseconds;

constexpr int kQuestionTag = 1;
constexpr int kFirstReplyTag = 2;
constexpr int kReplyTags = 30'000;  // MPI guarantees tags up to 32,767
constexpr microseconds kShortestSleep{20};
constexpr microseconds kLongestSleep{1000};

// In front of a question.
struct QuestionHead {
  uint64_t size = 0;  // bytes wanted
  int32_t tag = 0;    // of the reply
};

// Comes before the bytes of an answer; of a failed one no bytes follow, but an empty message.
struct ReplyHead {
  int32_t code = 0;  // exit code of an error, 0: none
  std::array<char, 1020> message{};
};

// Waiting without burning the core that others compute on: MPI's own waits spin.
class Patience {
 public:
  void wait() {
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(2 * sleep_, kLongestSleep);
  }

 private:
  microseconds sleep_ = kShortestSleep;
};

class MpiRequests final : public Requests {
 public:
  MpiRequests(int threads, Answer answer) : answer_(std::move(answer)) {
    int level = 0;
    check_mpi(MPI_Query_thread(&level), "MPI_Query_thread");
    if (level < MPI_THREAD_MULTIPLE) {
      throw ConfigError(
          "--inputs-are local needs an MPI library that several threads may call (MPI_THREAD_MULTIPLE), and "
          "this one "
          "does not allow it; put the models where all ranks see them");
    }
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { serve(); });
    }
  }

  ~MpiRequests() override {
    stopping_ = true;
    for (auto& thread : threads_) {
      thread.join();
    }
    if (finished_) {
      check_mpi(MPI_Comm_free(&comm_), "MPI_Comm_free");
    }
  }

  MpiRequests(const MpiRequests&) = delete;
  MpiRequests& operator=(const MpiRequests&) = delete;

  void ask(int rank, const std::string& question, void* destination, size_t size) override {
    FUSEGRID_ASSERT(size <= static_cast<size_t>(std::numeric_limits<int>::max()),
                    "a question for " + std::to_string(size) + " bytes");
    const QuestionHead head{size, kFirstReplyTag + static_cast<int32_t>(next_tag_++ % kReplyTags)};
    std::string message(sizeof head, '\0');
    std::memcpy(message.data(), &head, sizeof head);
    message += question;
    ReplyHead reply;
    std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    // both before the question, so that the bytes go straight to their place
    check_mpi(MPI_Irecv(&reply, sizeof reply, MPI_BYTE, rank, head.tag, comm_, requests.data()), "MPI_Irecv");
    check_mpi(MPI_Irecv(destination, static_cast<int>(size), MPI_BYTE, rank, head.tag, comm_, &requests[1]),
              "MPI_Irecv");
    check_mpi(MPI_Send(message.data(), static_cast<int>(message.size()), MPI_BYTE, rank, kQuestionTag, comm_),
              "MPI_Send");
    int done = 0;
    for (Patience patience; done == 0; done == 0 ? patience.wait() : void()) {
      check_mpi(MPI_Testall(2, requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
    }
    if (reply.code != 0) {
      throw Error(static_cast<ExitCode>(reply.code),
                  "rank " + std::to_string(rank) + ": " + reply.message.data());
    }
  }

  void finish() override {
    MPI_Request barrier = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(comm_, &barrier), "MPI_Ibarrier");
    int done = 0;
    for (Patience patience; done == 0; done == 0 ? patience.wait() : void()) {
      check_mpi(MPI_Test(&barrier, &done, MPI_STATUS_IGNORE), "MPI_Test");
    }
    finished_ = true;
  }

 private:
  void serve() {
    Patience patience;
    while (!stopping_) {
      int found = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status;
      check_mpi(MPI_Improbe(MPI_ANY_SOURCE, kQuestionTag, comm_, &found, &message, &status), "MPI_Improbe");
      if (found == 0) {
        patience.wait();
        continue;
      }
      int bytes = 0;
      check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
      std::string question(bytes, '\0');
      check_mpi(MPI_Mrecv(question.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE), "MPI_Mrecv");
      reply_to(status.MPI_SOURCE, question);
      patience = Patience();
    }
  }

  void reply_to(int rank, const std::string& message) {
    QuestionHead head;
    std::memcpy(&head, message.data(), sizeof head);
    std::vector<char> bytes(head.size);
    ReplyHead reply;
    try {
      answer_(message.substr(sizeof head), bytes.data(), bytes.size());
    } catch (const Error& error) {
      reply = failure(error.code(), error.what());
    } catch (const std::exception& error) {
      reply = failure(ExitCode::kIo, error.what());
    }
    const int size = reply.code == 0 ? static_cast<int>(bytes.size()) : 0;
    check_mpi(MPI_Send(&reply, sizeof reply, MPI_BYTE, rank, head.tag, comm_), "MPI_Send");
    check_mpi(MPI_Send(bytes.data(), size, MPI_BYTE, rank, head.tag, comm_), "MPI_Send");
  }

  static ReplyHead failure(ExitCode code, const std::string& message) {
    ReplyHead reply;
    reply.code = static_cast<int32_t>(code);
    message.copy(reply.message.data(), reply.message.size() - 1);
    return reply;
  }

  Answer answer_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  std::atomic<uint32_t> next_tag_ = 0;
  std::atomic<bool> stopping_ = false;
  bool finished_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Requests> mpi_requests(int threads, Requests::Answer answer) {
  return std::make_unique<MpiRequests>(threads, std::move(answer));
}

}  // namespace fusegrid
