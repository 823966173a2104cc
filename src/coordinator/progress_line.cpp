#include "coordinator/progress_line.h"

#include <cmath>

namespace fusegrid {
namespace {

constexpr std::chrono::milliseconds kTerminalPeriod{200};
constexpr std::chrono::seconds kPlainPeriod{30};

std::string clock_text(double duration_s) {
  const auto whole = static_cast<int64_t>(std::llround(duration_s));
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  return std::to_string(whole / 3600) + ":" + two(whole / 60 % 60) + ":" + two(whole % 60);
}

// Estimates need only be right relative to each other: they are scaled by the speed so far. Negative:
// unknown.
double seconds_to_go(const CampaignCounts& counts, double elapsed_s) {
  const double cost_done = counts.cost_at_start_s - counts.cost_left_s;
  if (cost_done > 0) {
    return elapsed_s * counts.cost_left_s / cost_done;
  }
  const auto ended = static_cast<double>(counts.done + counts.failed);
  return ended > 0 ? elapsed_s * static_cast<double>(counts.left) / ended : -1;
}

}  // namespace

std::string progress_text(const CampaignCounts& counts, double elapsed_s) {
  std::string text = "done " + std::to_string(counts.done) + ", failed " + std::to_string(counts.failed) +
                     ", running " + std::to_string(counts.running) + ", left " + std::to_string(counts.left) +
                     " of " + std::to_string(counts.done + counts.failed + counts.left) + ", " +
                     clock_text(elapsed_s) + " elapsed";
  const double to_go = seconds_to_go(counts, elapsed_s);
  if (counts.left > 0 && to_go >= 0) {
    text += ", about " + clock_text(to_go) + " to go";
  }
  return text;
}

ProgressLine::ProgressLine(std::ostream& out, bool terminal, bool quiet, Time start)
    : out_(out), terminal_(terminal), quiet_(quiet), start_(start), last_(start) {}

void ProgressLine::update(const CampaignCounts& counts, Time now) {
  if (now - last_ >= (terminal_ ? std::chrono::milliseconds(kTerminalPeriod) : kPlainPeriod)) {
    print(counts, now, false);
  }
}

void ProgressLine::finish(const CampaignCounts& counts, Time now) {
  print(counts, now, true);
}

void ProgressLine::say(const std::string& line) {
  if (shown_ > 0) {
    out_ << "\r" << std::string(shown_, ' ') << "\r";
    shown_ = 0;
  }
  out_ << line << std::endl;
}

void ProgressLine::print(const CampaignCounts& counts, Time now, bool last) {
  last_ = now;
  if (quiet_) {
    return;
  }
  const std::string text = progress_text(counts, std::chrono::duration<double>(now - start_).count());
  if (!terminal_ || last) {
    say(text);
    return;
  }
  const size_t covered = shown_ > text.size() ? shown_ - text.size() : 0;
  out_ << "\r" << text << std::string(covered, ' ') << std::flush;
  shown_ = std::max(shown_, text.size());
}

}  // namespace fusegrid
