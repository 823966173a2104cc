// The dispatcher's side of each worker: from its hello to its bye, and what it is told between.
#include <algorithm>
#include <iostream>

#include "coordinator/dispatcher.h"
#include "core/text.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLongestWaitForMessages{50};  // for a message, so that a stop signal is seen
constexpr seconds kGreetLimit{10};
constexpr seconds kByeLimit{3};
constexpr milliseconds kByeRepeat{100};

}  // namespace

// Waits until every worker has told its device: a user's mistake, or a GPU that does not work, must show before
// work begins. Who is silent for long is not waited for, who is opening its device is.
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
    take_messages(kLongestWaitForMessages);
    ping(Clock::now());
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
    kinds_.insert(hello.kind);
    if (kinds_.size() > kinds_told_) {
      kinds_told_ = kinds_.size();
      progress_.say("warning: results of this store come from devices of several kinds (" +
                    join({kinds_.begin(), kinds_.end()}, "; ") +
                    "), and the last bits of a result depend on which of them makes it. Use nodes of one "
                    "kind for results that can be made again bit by bit");
    }
  }
}

void Dispatcher::on(int rank, const Pong& pong) {
  Peer& peer = peers_.at(rank);
  peer.opening = !peer.hello;
  if (peer.orphan && pong.seen < peer.orphan->token) {
    peer.orphan.reset();  // it never got that item
  }
  if (peer.flight && peer.flight->cancelled) {
    send(rank, Cancel{peer.flight->token});  // it may have got lost
  } else if (peer.flight && pong.seen < peer.flight->token &&
             Clock::now() - peer.flight->sent > options_.ping_every) {
    send_run(rank);  // the assignment got lost
  }
}

void Dispatcher::on(int rank, const Bye&) {
  peers_.at(rank).bye = true;
}

void Dispatcher::start(int rank, const Scheduler::Assignment& what, const Team& team, bool helps) {
  Peer& peer = peers_.at(rank);
  peer.flight = Flight{
      .token = ++peer.last_token, .item = what.item, .attempt = what.attempt, .team = team, .helps = helps};
  send_run(rank);
}

// After the failure of one member: whoever else has the item is told to end.
void Dispatcher::cancel_team(size_t item) {
  for (auto& [rank, peer] : peers_) {
    if (peer.flight && peer.flight->item == item && peer.flight->team.id > 0) {
      peer.flight->cancelled = true;
      send(rank, Cancel{peer.flight->token});
    }
  }
}

// What teams can be made of.
void Dispatcher::count_workers() {
  scheduler_.limit_teams(static_cast<int>(
      std::count_if(peers_.begin(), peers_.end(), [](const auto& peer) { return !peer.second.lost; })));
}

void Dispatcher::send_run(int rank) {
  Peer& peer = peers_.at(rank);
  peer.flight->sent = Clock::now();
  send(rank, Assign{peer.flight->token, scheduler_.items()[peer.flight->item].name, peer.flight->attempt,
                    peer.recorded, peer.flight->team});
}

// It speaks again and is known to run nothing of ours.
void Dispatcher::revive(int rank) {
  peers_.at(rank).lost = false;
  count_workers();
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
    count_workers();
    const std::string reason =
        "no answer for " + number_text(static_cast<double>(options_.silence_limit.count()) / 1000) + " s";
    progress_.say("rank " + std::to_string(rank) + ": " + reason + "; it is given up");
    if (!peer.hello) {
      continue;  // the scheduler does not know it yet
    }
    const auto verdict = scheduler_.lost(rank);
    if (peer.flight) {
      peer.orphan = std::exchange(peer.flight, std::nullopt);
      if (verdict) {  // otherwise it was cancelled before
        cancel_team(peer.orphan->item);
        take_failure(rank, *peer.orphan, {"lost", "the worker gave " + reason, ""}, *verdict);
      }
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
          options_.log_folder.string(),
          std::any_of(scheduler_.items().begin(), scheduler_.items().end(),
                      [](const Item& item) { return item.shards > 1; })};
}

// Of the devices that made a result.
std::string Dispatcher::kinds_text(int rank, const Team& team) const {
  std::set<std::string> kinds{peers_.at(rank).hello->kind};
  for (const int member : team.ranks) {
    kinds.insert(peers_.at(member).hello->kind);
  }
  return join({kinds.begin(), kinds.end()}, "; ");
}

std::string Dispatcher::worker_text(int rank) const {
  const auto& hello = peers_.at(rank).hello;
  return "rank " + std::to_string(rank) + (hello ? " on " + hello->host + ", " + hello->device : "");
}

void Dispatcher::send(int rank, const ToWorker& message) {
  transport_.send(rank, encode(message));
}

}  // namespace fusegrid
