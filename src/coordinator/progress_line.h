#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

namespace fusegrid {

struct CampaignCounts {
  int64_t done = 0;  // valid or invalid
  int64_t failed = 0;
  int64_t running = 0;
  int64_t left = 0;                             // not ended, running ones included
  double cost_left_s = 0, cost_at_start_s = 0;  // estimated
};

// The campaign's progress for people: one line that is rewritten in place on a terminal, or a plain line
// every 30 s.
class ProgressLine {
 public:
  using Time = std::chrono::steady_clock::time_point;
  ProgressLine(std::ostream& out, bool terminal, bool quiet, Time start);
  // Prints if it is time to.
  void update(const CampaignCounts& counts, Time now);
  void finish(const CampaignCounts& counts, Time now);
  // A line that stays, whatever `quiet` says.
  void say(const std::string& line);

 private:
  void print(const CampaignCounts& counts, Time now, bool last);

  std::ostream& out_;
  bool terminal_, quiet_;
  Time start_, last_;
  size_t shown_ = 0;  // characters of the line on the terminal
};

// "done 12, failed 0, running 7, left 20 of 32, 0:01:10 elapsed, about 0:02:00 to go"
std::string progress_text(const CampaignCounts& counts, double elapsed_s);

}  // namespace fusegrid
