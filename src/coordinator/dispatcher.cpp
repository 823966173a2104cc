#include "coordinator/dispatcher.h"

#include <algorithm>
#include <iostream>

#include <signal.h>
#include <unistd.h>

#include "coordinator/rerun_hint.h"
#include "core/text.h"

namespace fusegrid {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kFlushEvery{50};
constexpr milliseconds kLongestWait{50};  // of the event loop: bounds how late a stop signal is seen
constexpr seconds kGreetLimit{10};
constexpr seconds kByeLimit{3};
constexpr milliseconds kByeRepeat{100};
constexpr int kPublishShare = 10;  // publishing takes at most about 1/10 of the time
constexpr int kMostMessagesPerRound = 1000;

}  // namespace

Dispatcher::Dispatcher(Transport& transport, ResultStore& store, const std::vector<Item>& items,
                       const CampaignOptions& options, int64_t epoch, const StopSignal& stop)
    : transport_(transport),
      store_(store),
      options_(options),
      epoch_(epoch),
      stop_(stop),
      scheduler_(items, options.max_attempts),
      progress_(std::cerr, isatty(STDERR_FILENO) != 0, options.quiet, Clock::now()),
      start_(Clock::now()),
      last_ping_(start_),
      last_publish_(start_),
      cost_at_start_(scheduler_.cost_left()) {
  for (int rank = 1; rank < transport.size(); ++rank) {
    peers_[rank] = {};
  }
}

CampaignReport Dispatcher::run() {
  try {
    greet();
    print_table();
    hand_out_everything();
    flush();
    publish(Clock::now());
  } catch (...) {
    end_campaign_of_workers();
    throw;
  }
  end_campaign_of_workers();
  report_.not_run = static_cast<int64_t>(scheduler_.items_left());
  report_.stopped = report_.not_run > 0;
  report_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  progress_.finish(counts(), Clock::now());
  return std::move(report_);
}

// Waits until every worker has told its device: a user's mistake, or a GPU that does not work, must show before work
// begins. Who is silent for long is not waited for, who is opening its device is.
void Dispatcher::greet() {
  for (const auto& [rank, peer] : peers_) {
    send(rank, Begin{worker_settings()});
  }
  const Time deadline = start_ + std::min<Clock::duration>(kGreetLimit, options_.silence_limit);
  const auto awaited = [&](const auto& entry) {
    const Peer& peer = entry.second;
    const bool answers = !peer.asked || Clock::now() - *peer.asked < options_.silence_limit;
    return !peer.hello && (Clock::now() < deadline || (peer.opening && answers));
  };
  while (std::any_of(peers_.begin(), peers_.end(), awaited) && !stop_.seen()) {
    take_messages(kLongestWait);
    ping(Clock::now());
  }
}

void Dispatcher::hand_out_everything() {
  while (!over(Clock::now())) {
    assign();
    take_messages(dirty_since_ ? kFlushEvery / 2 : kLongestWait);
    const Time now = Clock::now();
    obey_stop_signal(now);
    ping(now);
    give_up_silent_workers(now);
    if (dirty_since_ && (now - *dirty_since_ >= kFlushEvery || scheduler_.running() == 0)) {
      flush();
    }
    if (now - last_publish_ >=
        std::max<Clock::duration>(options_.publish_every, kPublishShare * publish_took_)) {
      flush();
      publish(now);
    }
    progress_.update(counts(), now);
  }
}

void Dispatcher::take_messages(microseconds timeout) {
  for (int i = 0; i < kMostMessagesPerRound; ++i) {
    const auto message = transport_.receive(i == 0 ? timeout : microseconds(0));
    if (!message) {
      return;
    }
    take(message->peer, decode_to_coordinator(message->bytes));
  }
}

void Dispatcher::take(int rank, const ToCoordinator& message) {
  Peer& peer = peers_.at(rank);
  const int64_t epoch = std::visit([](const auto& m) { return m.epoch; }, message);
  if (epoch != epoch_) {
    return;  // a straggler of an earlier campaign
  }
  peer.asked.reset();
  std::visit([&](const auto& m) { on(rank, m); }, message);
  if (peer.lost && peer.hello && !peer.orphan) {
    revive(rank);
  }
}

void Dispatcher::on(int rank, const Hello& hello) {
  if (!hello.error.empty()) {
    throw DeviceError(hello.error);
  }
  Peer& peer = peers_.at(rank);
  if (!peer.hello) {
    peer.hello = hello;
    scheduler_.add_worker(rank);
    idle_changed_ = true;
    if (!hello.warning.empty()) {
      progress_.say("rank " + std::to_string(rank) + ": " + hello.warning);
    }
  }
}

void Dispatcher::on(int rank, const Done& done) {
  Peer& peer = peers_.at(rank);
  if (peer.flight && peer.flight->token == done.token) {
    const Flight flight = *std::exchange(peer.flight, std::nullopt);
    peer.ended_token = done.token;
    take_outcome(rank, flight, done, false);
  } else if (peer.orphan && peer.orphan->token == done.token) {
    const Flight flight = *std::exchange(peer.orphan, std::nullopt);
    peer.ended_token = std::max(peer.ended_token, done.token);
    take_outcome(rank, flight, done, true);
  }  // otherwise a repetition
}

void Dispatcher::on(int rank, const Pong& pong) {
  Peer& peer = peers_.at(rank);
  peer.opening = !peer.hello;
  if (peer.orphan && pong.seen < peer.orphan->token) {
    peer.orphan.reset();  // it never got that item
  }
  if (peer.flight && pong.seen < peer.flight->token &&
      Clock::now() - peer.flight->sent > options_.ping_every) {
    send_run(rank);  // the assignment got lost
  }
}

void Dispatcher::on(int rank, const Bye&) {
  peers_.at(rank).bye = true;
}

void Dispatcher::take_outcome(int rank, const Flight& flight, const Done& done, bool late) {
  idle_changed_ = true;
  if (done.ok) {
    const bool first = late ? scheduler_.completed_late(flight.item) : scheduler_.succeeded(rank);
    if (first) {
      record(done.result, rank, flight.attempt);
    }
  } else if (!late) {  // a late failure was counted when the worker was given up
    take_failure(rank, flight, done.failure, scheduler_.failed(rank, done.failure.worker_suspect()));
  }
}

void Dispatcher::take_failure(int rank, const Flight& flight, const Failure& failure,
                              Scheduler::Verdict verdict) {
  if (verdict == Scheduler::Verdict::kNotCounted) {
    return;
  }
  const std::string& name = scheduler_.items()[flight.item].name;
  const std::string what = name + ": " + failure.message + " (attempt " + std::to_string(flight.attempt) +
                           " of " + std::to_string(options_.max_attempts) + ", " + worker_text(rank) + ")";
  if (verdict == Scheduler::Verdict::kRetry) {
    progress_.say("attempt failed, will be repeated: " + what);
  } else {
    const std::string line = what + "; rerun: " + rerun_hint(name);
    progress_.say("failed: " + line);
    report_.failures.push_back(line);
    Result result;
    result.name = name;
    result.status = Status::kFailed;
    result.reason = failure.message;
    result.log_tail = failure.log_tail;
    record(std::move(result), rank, flight.attempt);
  }
  if (scheduler_.quarantined(rank)) {
    progress_.say("items keep crashing on " + worker_text(rank) + ": it gets no more work while others can");
  }
}

void Dispatcher::record(Result result, int rank, int attempts) {
  result.attempts = attempts;
  result.worker = worker_text(rank);
  store_.record(result);
  dirty_since_ = dirty_since_.value_or(Clock::now());
  published_all_ = false;
  report_.valid += result.status == Status::kValid;
  report_.invalid += result.status == Status::kInvalid;
  report_.failed += result.status == Status::kFailed;
  if (result.status == Status::kInvalid) {
    const std::string line = result.name + ": " + result.reason + "; rerun: " + rerun_hint(result.name);
    progress_.say("invalid: " + line);
    report_.failures.push_back(line);
  }
}

void Dispatcher::assign() {
  if (!std::exchange(idle_changed_, false) || stopping_) {
    return;
  }
  for (auto& [rank, peer] : peers_) {
    if (!peer.hello || peer.lost || peer.flight) {
      continue;
    }
    if (!scheduler_.any_pending()) {
      return;
    }
    if (const auto next = scheduler_.next(rank)) {
      peer.flight = Flight{++peer.last_token, next->item, next->attempt, {}};
      send_run(rank);
    }
  }
}

void Dispatcher::send_run(int rank) {
  Peer& peer = peers_.at(rank);
  peer.flight->sent = Clock::now();
  send(rank, Assign{peer.flight->token, scheduler_.items()[peer.flight->item].name, peer.flight->attempt,
                    peer.recorded});
}

// It speaks again and is known to run nothing of ours.
void Dispatcher::revive(int rank) {
  peers_.at(rank).lost = false;
  scheduler_.add_worker(rank);
  idle_changed_ = true;
  progress_.say(worker_text(rank) + " answers again");
}

void Dispatcher::give_up_silent_workers(Time now) {
  for (auto& [rank, peer] : peers_) {
    if (peer.lost || !peer.asked || now - *peer.asked <= options_.silence_limit) {
      continue;
    }
    peer.lost = true;
    idle_changed_ = true;
    const std::string reason =
        "no answer for " + number_text(static_cast<double>(options_.silence_limit.count()) / 1000) + " s";
    progress_.say("rank " + std::to_string(rank) + ": " + reason + "; it is given up");
    if (!peer.hello) {
      continue;  // the scheduler does not know it yet
    }
    const auto verdict = scheduler_.lost(rank);
    if (peer.flight) {
      peer.orphan = std::exchange(peer.flight, std::nullopt);
      take_failure(rank, *peer.orphan, {"lost", "the worker gave " + reason, ""}, *verdict);
    }
  }
}

void Dispatcher::ping(Time now) {
  if (now - last_ping_ < options_.ping_every) {
    return;
  }
  last_ping_ = now;
  for (auto& [rank, peer] : peers_) {
    if (!peer.hello) {
      send(rank, Begin{worker_settings()});
    } else {
      send(rank, Ping{peer.recorded});
    }
    peer.asked = peer.asked.value_or(now);
  }
}

void Dispatcher::flush() {
  if (!dirty_since_) {
    return;
  }
  store_.flush();
  dirty_since_.reset();
  for (auto& [rank, peer] : peers_) {
    peer.recorded = peer.ended_token;
  }
}

void Dispatcher::publish(Time now) {
  last_publish_ = now;
  if (published_all_) {
    return;
  }
  store_.publish();
  published_all_ = true;
  last_publish_ = Clock::now();
  publish_took_ = last_publish_ - now;
}

void Dispatcher::obey_stop_signal(Time now) {
  const auto signal = stop_.seen();
  if (!signal) {
    return;
  }
  if (!stopping_) {
    stopping_ = true;
    flush();
    progress_.say(std::string("stopping on ") + strsignal(*signal) +
                  ": nothing new is started; the same command continues");
  }
  if (*signal != SIGUSR1 && !stop_deadline_) {
    stop_deadline_ = now + options_.stop_grace;
  }
}

bool Dispatcher::over(Time now) const {
  const bool all_lost =
      std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer.second.lost; });
  return scheduler_.all_ended() || all_lost ||
         (stopping_ && (scheduler_.running() == 0 || (stop_deadline_ && now >= *stop_deadline_)));
}

// Repeats itself, as any message may get lost. Throws nothing: it runs while an error is on its way.
void Dispatcher::end_campaign_of_workers() noexcept {
  const Time deadline = Clock::now() + kByeLimit;
  const auto waiting = [this](const auto& peer) { return !peer.second.bye && !peer.second.lost; };
  Time next_repeat = Clock::now();
  while (std::any_of(peers_.begin(), peers_.end(), waiting) && Clock::now() < deadline) {
    if (Clock::now() >= next_repeat) {
      for (const auto& [rank, peer] : peers_) {
        if (!peer.bye) {
          send(rank, Stop{epoch_});
        }
      }
      next_repeat = Clock::now() + kByeRepeat;
    }
    if (const auto message = transport_.receive(kByeRepeat)) {
      take_bye(*message);
    }
  }
}

void Dispatcher::take_bye(const Message& message) noexcept {
  try {
    const ToCoordinator decoded = decode_to_coordinator(message.bytes);
    const auto* bye = std::get_if<Bye>(&decoded);
    peers_.at(message.peer).bye |= bye != nullptr && bye->epoch == epoch_;
  } catch (const std::exception& error) {
    std::cerr << "fusegrid: rank " << message.peer << ": " << error.what() << "\n";
  }
}

void Dispatcher::print_table() {
  if (options_.quiet) {
    return;
  }
  for (const auto& [rank, peer] : peers_) {
    progress_.say(peer.hello ? worker_text(rank) : "rank " + std::to_string(rank) + " has not answered yet");
  }
}

WorkerSettings Dispatcher::worker_settings() const {
  return {epoch_,
          options_.executor_kind,
          options_.executor_settings,
          options_.device,
          options_.threads,
          options_.inline_executor,
          options_.stall_timeout.count(),
          options_.silence_limit.count(),
          options_.memory_limit_bytes,
          options_.core_dumps,
          options_.log_folder.string()};
}

CampaignCounts Dispatcher::counts() const {
  return {report_.valid + report_.invalid,
          report_.failed,
          scheduler_.running(),
          static_cast<int64_t>(scheduler_.items_left()),
          scheduler_.cost_left(),
          cost_at_start_};
}

std::string Dispatcher::worker_text(int rank) const {
  const auto& hello = peers_.at(rank).hello;
  return "rank " + std::to_string(rank) + (hello ? " on " + hello->host + ", " + hello->device : "");
}

void Dispatcher::send(int rank, const ToWorker& message) {
  transport_.send(rank, encode(message));
}

}  // namespace fusegrid
