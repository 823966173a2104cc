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
constexpr int kPublishShare = 10;         // publishing takes at most about 1/10 of the time
constexpr int kMostMessagesPerRound = 1000;

// ", in the team of ranks 1, 2, 3"
std::string team_text(const Team& team) {
  std::vector<std::string> ranks;
  for (const int rank : team.ranks) {
    ranks.push_back(std::to_string(rank));
  }
  return ranks.empty() ? "" : ", in the team of ranks " + join(ranks, ", ");
}

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
  for (const auto& [name, result] : store.results()) {
    if (const auto made_on = result.facts.find("device"); made_on != result.facts.end()) {
      kinds_.insert(made_on->second);
    }
  }
  count_workers();
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
  if (input_failure_) {
    throw Error(static_cast<ExitCode>(input_failure_->exit_code),
                input_failure_->message +
                    ". The run ends here; what is recorded is safe, and the same command " +
                    "continues once that is put right");
  }
  report_.not_run = static_cast<int64_t>(scheduler_.items_left());
  report_.stopped = report_.not_run > 0;
  report_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  progress_.finish(counts(), Clock::now());
  return std::move(report_);
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

void Dispatcher::take_outcome(int rank, const Flight& flight, const Done& done, bool late) {
  idle_changed_ = true;
  const bool counts = !late && !flight.cancelled;  // otherwise its failure was counted before
  if (!late && flight.cancelled) {
    scheduler_.released(rank);
  }
  if (done.ok && flight.helps) {
    if (counts) {
      scheduler_.helped(rank);
    }
  } else if (done.ok) {
    const bool first = counts ? scheduler_.succeeded(rank) : scheduler_.completed_late(flight.item);
    if (first) {
      record(done.result, rank, flight);
    }
  } else if (counts) {
    const auto verdict = scheduler_.failed(rank, done.failure.worker_suspect());
    cancel_team(flight.item);
    take_failure(rank, flight, done.failure, verdict);
  }
}

void Dispatcher::take_failure(int rank, const Flight& flight, const Failure& failure,
                              Scheduler::Verdict verdict) {
  if (failure.kind == "input") {
    input_failure_ = failure;
    input_failure_->message += " (seen by " + worker_text(rank) + ")";  // other hosts may have other files
    return;
  }
  if (verdict == Scheduler::Verdict::kNotCounted) {
    return;
  }
  const std::string& name = scheduler_.items()[flight.item].name;
  const std::string what = name + ": " + failure.message + " (attempt " + std::to_string(flight.attempt) +
                           " of " + std::to_string(options_.max_attempts) + ", " + worker_text(rank) +
                           team_text(flight.team) + ")";
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
    result.transient = failure.transient();
    result.log_tail = failure.log_tail;
    record(std::move(result), rank, flight);
  }
  if (scheduler_.quarantined(rank)) {
    progress_.say("items keep crashing on " + worker_text(rank) + ": it gets no more work while others can");
  }
}

void Dispatcher::record(Result result, int rank, const Flight& flight) {
  result.attempts = flight.attempt;
  result.bindings = scheduler_.items()[flight.item].bindings;
  result.worker = worker_text(rank) + team_text(flight.team);
  if (result.status != Status::kFailed) {
    result.facts["device"] = kinds_text(rank, flight.team);
  }
  if (options_.judge) {
    options_.judge(result);
  }
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
      Team team;
      if (!next->helpers.empty()) {
        team = {++last_team_, {rank}};
        team.ranks.insert(team.ranks.end(), next->helpers.begin(), next->helpers.end());
      }
      start(rank, *next, team, false);
      for (const int helper : next->helpers) {
        start(helper, *next, team, true);
      }
    }
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
  return scheduler_.all_ended() || all_lost || input_failure_ ||
         (stopping_ && (scheduler_.running() == 0 || (stop_deadline_ && now >= *stop_deadline_)));
}

CampaignCounts Dispatcher::counts() const {
  return {report_.valid + report_.invalid,
          report_.failed,
          scheduler_.running(),
          static_cast<int64_t>(scheduler_.items_left()),
          scheduler_.cost_left(),
          cost_at_start_};
}

}  // namespace fusegrid
