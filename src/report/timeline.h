// When which rank of a run did what. Differs from run to run.
#pragma once

#include <string>
#include <vector>

#include "report/tables.h"
#include "store/records.h"

namespace fusegrid {

struct Timeline {
  // Cells of one merge that a rank did one after the other.
  struct Span {
    size_t lane = 0;
    double begin = 0, end = 0;  // seconds since the first of the launch
    std::string what;           // "ties{scale=0.5}, 8 experts"
    std::string phase;          // "merge" or "evaluate"
  };
  struct Lane {
    std::string title;  // host, rank and device
    int64_t cells = 0;
    double busy = 0;  // seconds
  };
  std::string title;  // "launch 1"
  std::vector<Lane> lanes;
  std::vector<Span> spans;    // by lane, then by time
  double seconds = 0;         // from the first begin to the last end
  double efficiency() const;  // busy seconds of all lanes / (lanes x seconds)
};

// One for each launch that recorded results which say when they were made.
std::vector<Timeline> make_timelines(const Records& records);

ReportTable lane_table(const Timeline& timeline);

}  // namespace fusegrid
