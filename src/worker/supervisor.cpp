#include "worker/supervisor.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>

#include <signal.h>

#include "comm/collectives.h"
#include "core/errors.h"
#include "core/parallel.h"
#include "core/text.h"
#include "worker/device.h"
#include "worker/protocol.h"

namespace fusegrid {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr microseconds kShortestWait{20};
constexpr microseconds kLongestWait{1000};  // how late a message may be seen while an item runs
constexpr microseconds kIdleWait{50'000};
constexpr int64_t kNoCampaign = -1;

// Lets the process live through the signals that the coordinator answers for all ranks. A handler instead of
// SIG_IGN: a child would inherit the latter through exec. Leaves alone what has a handler already: that of
// the coordinator, where the worker is a thread of its process.
class IgnoreSignals {
 public:
  IgnoreSignals() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
      struct sigaction before {};
      sigaction(signal, nullptr, &before);
      if (before.sa_handler == SIG_DFL) {
        sigaction(signal, &action, nullptr);
        changed_.push_back(signal);
      }
    }
  }
  ~IgnoreSignals() {
    for (const int signal : changed_) {
      ::signal(signal, SIG_DFL);
    }
  }
  IgnoreSignals(const IgnoreSignals&) = delete;
  IgnoreSignals& operator=(const IgnoreSignals&) = delete;

 private:
  std::vector<int> changed_;
};

// The executor inherits what its rank is bound to.
std::string binding_warning(int threads) {
  const int cores = usable_cores();
  return cores >= threads ? ""
                          : "it may use " + std::to_string(cores) + " cores, but its executor runs " +
                                std::to_string(threads) + " threads; " + kMoreCores;
}

class Supervisor {
 public:
  Supervisor(Transport& transport, const WorkerOptions& options) : transport_(transport), options_(options) {
    handle_.relay = [this](int member, std::string bytes) { relay(member, std::move(bytes)); };
  }

  void run() {
    while (!leaving_) {
      if (const auto message = transport_.receive(busy() ? microseconds(0) : kIdleWait)) {
        last_heard_ = steady_clock::now();
        take(decode_to_worker(message->bytes));
        wait_ = kShortestWait;
        continue;  // all that has arrived counts before silence does
      }
      if (busy()) {
        if (auto outcome = executor_->wait(wait_)) {
          opening_ ? introduce(*outcome) : report(std::move(*outcome));
        }
        wait_ = std::min(2 * wait_, kLongestWait);
      }
      check_silence();
    }
  }

 private:
  // An outcome that the coordinator has not yet confirmed to be on disk.
  struct Unrecorded {
    Done done;
    int pings = 0;
  };

  // What one member of the team has sent, in order and each once whatever the transport does.
  struct Inbox {
    int64_t next = 0;
    std::map<int64_t, std::string> held;
  };

  void take(ToWorker message) {
    std::visit([this](auto& m) { on(m); }, message);
  }

  void on(const Begin& begin) {
    if (begin.settings.epoch != settings_.epoch) {
      end_campaign();
      settings_ = begin.settings;
      choose();
      if (hello_.error.empty() && handle_.start.device != "cpu") {
        make_executor();
        executor_->open();
        opening_ = true;
      }
    }
    if (opening_) {
      send(Pong{settings_.epoch, seen_});
    } else {
      send(hello_);
    }
  }

  void on(const Assign& run) {
    forget_recorded(run.recorded);
    if (settings_.epoch == kNoCampaign || busy() || run.token <= seen_) {
      return;  // a repetition
    }
    seen_ = run.token;
    item_ = run.item;
    if (!executor_) {
      make_executor();
    }
    join_team(run.team);
    executor_->start({item_, team_.id, member_, std::max(1, static_cast<int>(team_.ranks.size()))});
    running_ = true;
    for (Relay& early : std::exchange(early_, {})) {
      on(early);
    }
  }

  void join_team(const Team& team) {
    team_ = team;
    const auto& ranks = team_.ranks;
    member_ = static_cast<int>(std::find(ranks.begin(), ranks.end(), transport_.rank()) - ranks.begin());
    newest_team_ = std::max(newest_team_, team_.id);
    inboxes_.clear();
    sent_.clear();
  }

  void on(Relay& relay) {
    if (relay.epoch != settings_.epoch) {
      return;
    }
    if (relay.team > newest_team_) {  // its sender had its assignment sooner
      early_.push_back(std::move(relay));
    } else if (running_ && relay.team == team_.id) {
      Inbox& inbox = inboxes_[relay.member];
      if (relay.number >= inbox.next) {
        inbox.held.emplace(relay.number, std::move(relay.bytes));
      }
      for (auto next = inbox.held.begin(); next != inbox.held.end() && next->first == inbox.next;
           next = inbox.held.erase(next)) {
        executor_->deliver(relay.member, std::move(next->second));
        ++inbox.next;
      }
    }
  }

  void relay(int member, std::string bytes) {
    if (member < 0 || member >= static_cast<int>(team_.ranks.size())) {
      throw DataError("a message to member " + std::to_string(member) + " of a team of " +
                      std::to_string(team_.ranks.size()));
    }
    const Relay message{settings_.epoch, team_.id, member_, sent_[member]++, std::move(bytes)};
    transport_.send(team_.ranks[member], encode(ToWorker(message)));
    wait_ = kShortestWait;  // an answer may come soon
  }

  void on(const Cancel& cancel) {
    if (cancel.token == seen_ && running_) {
      executor_->cancel();
    } else if (cancel.token > seen_ && settings_.epoch != kNoCampaign) {  // its assignment got lost
      seen_ = cancel.token;
      report(Failure{"cancelled", "the assignment never came", ""});
    }
  }

  void on(const Ping& ping) {
    forget_recorded(ping.recorded);
    if (settings_.epoch == kNoCampaign) {
      return;
    }
    for (Unrecorded& entry : unrecorded_) {
      if (++entry.pings > 1) {  // sent before the previous ping: it must have got lost
        send(entry.done);
      }
    }
    send(Pong{settings_.epoch, seen_});
  }

  void on(const Stop& stop) {
    const bool for_good = stop.epoch == 0;
    if (for_good || stop.epoch == settings_.epoch) {
      end_campaign();
      leaving_ = for_good;
    }
    if (!for_good) {
      send(Bye{stop.epoch});
    }
  }

  bool busy() const { return running_ || opening_; }

  void make_executor() {
    executor_ = settings_.inline_executor ? inline_executor(handle_) : child_executor(handle_);
  }

  // Tells the coordinator how opening the device ended.
  void introduce(const Outcome& outcome) {
    opening_ = false;
    if (const auto* failure = std::get_if<Failure>(&outcome)) {
      const bool told = failure->kind == "device";
      refuse(told ? failure->message
                  : "the executor could not open " + hello_.device + ": " + failure->message +
                        ". See nvidia-smi, or use --device cpu");
      executor_.reset();
    }
    send(hello_);
  }

  void refuse(const std::string& reason) {
    hello_.error = "rank " + std::to_string(transport_.rank()) + " on " + hello_.host + ": " + reason;
  }

  void end_campaign() {
    executor_.reset();
    running_ = false;
    opening_ = false;
    seen_ = 0;
    team_ = {};
    newest_team_ = 0;
    early_.clear();
    unrecorded_.clear();
    settings_ = {};
    settings_.epoch = kNoCampaign;
  }

  void choose() {
    hello_ = {.epoch = settings_.epoch,
              .host = transport_.host(),
              .device = "",
              .kind = "",
              .error = "",
              .warning = binding_warning(settings_.threads)};
    DeviceChoice choice;
    try {
      choice = choose_device(settings_.device, std::max(0, transport_.local_worker()),
                             transport_.local_workers(), options_.host);
    } catch (const Error& error) {
      refuse(error.what());
      return;
    }
    if (settings_.teams && choice.device != "cpu" && !built_with_nccl()) {
      refuse(
          "'shards' above 1 needs NCCL on GPUs, but this program was built without it; configure it with "
          "-DFUSEGRID_NCCL=on, or set shards = 1");
      return;
    }
    hello_.device = choice.description;
    hello_.kind = choice.kind;
    if (settings_.inline_executor && choice.device != "cpu") {
      setenv("CUDA_VISIBLE_DEVICES", choice.visible_gpus.c_str(), 1);
    }
    handle_.start = {settings_.executor_kind, settings_.executor_settings, choice.device, settings_.threads,
                     std::clamp<int64_t>(settings_.stall_timeout_ms / 5, 20, 200)};
    handle_.stall_timeout = milliseconds(settings_.stall_timeout_ms);
    // CUDA reserves address space by the hundreds of gigabytes: a limit would only keep it from starting.
    const int64_t limit = choice.device == "cpu" ? settings_.memory_limit_bytes : 0;
    handle_.child = {options_.executable, options_.arguments, settings_.threads, choice.visible_gpus, limit,
                     settings_.core_dumps};
    if (!settings_.log_folder.empty()) {
      handle_.log_file = std::filesystem::path(settings_.log_folder) / log_name();
    }
  }

  std::string log_name() const {
    std::string digits = std::to_string(transport_.rank());
    digits.insert(0, digits.size() < 4 ? 4 - digits.size() : 0, '0');
    return "worker-" + digits + ".log";
  }

  void report(Outcome outcome) {
    running_ = false;
    Done done{settings_.epoch, seen_, item_, std::holds_alternative<Result>(outcome), {}, {}};
    if (done.ok) {
      done.result = std::move(std::get<Result>(outcome));
    } else {
      done.failure = std::move(std::get<Failure>(outcome));
    }
    send(done);
    unrecorded_.push_back({std::move(done), 0});
  }

  void forget_recorded(int64_t token) {
    while (!unrecorded_.empty() && unrecorded_.front().done.token <= token) {
      unrecorded_.pop_front();
    }
  }

  void check_silence() {
    const bool serving =
        settings_.epoch != kNoCampaign;  // before a campaign the coordinator may plan for long
    if (serving && steady_clock::now() - last_heard_ > milliseconds(settings_.silence_limit_ms)) {
      std::cerr << "fusegrid: rank " << transport_.rank() << " has heard nothing from the coordinator for "
                << number_text(static_cast<double>(settings_.silence_limit_ms) / 1000)
                << " s and ends; the same command continues the run\n";
      end_campaign();
      leaving_ = true;
      transport_.abort(static_cast<int>(ExitCode::kStopped));
    }
  }

  void send(const ToCoordinator& message) { transport_.send(0, encode(message)); }

  Transport& transport_;
  const WorkerOptions& options_;
  WorkerSettings settings_{
      .epoch = kNoCampaign, .executor_kind = "", .executor_settings = {}, .device = "", .log_folder = ""};
  Hello hello_;
  HandleOptions handle_;
  std::unique_ptr<ExecutorHandle> executor_;
  bool opening_ = false, running_ = false, leaving_ = false;
  int64_t seen_ = 0;  // newest token
  std::string item_;
  Team team_;  // of the newest item; id 0: it had none
  int member_ = 0;
  microseconds wait_ = kShortestWait;
  int64_t newest_team_ = 0;
  std::map<int, Inbox> inboxes_;  // by member
  std::map<int, int64_t> sent_;   // messages, by member
  std::vector<Relay> early_;      // of teams to come
  std::deque<Unrecorded> unrecorded_;
  steady_clock::time_point last_heard_ = steady_clock::now();
};

}  // namespace

void run_worker(Transport& transport, const WorkerOptions& options) {
  const IgnoreSignals ignore;
  Supervisor(transport, options).run();
}

}  // namespace fusegrid
