#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/errors.h"
#include "store/result_store.h"

namespace fusegrid {

// A store in memory, which notes how it was used and can run out of space.
class FakeStore : public ResultStore {
 public:
  const std::map<std::string, Result>& results() const override { return results_; }
  const std::vector<RunInfo>& runs() const override { return runs_; }
  void record(const Result& result) override {
    if (room == 0) {
      throw IoError("the disk is full");
    }
    --room;
    ++records[result.name];
    results_[result.name] = result;
    dirty = true;
    if (on_record) {
      on_record();
    }
  }
  void flush() override {
    ++flushes;
    dirty = false;
  }
  void publish() override {
    ++publications;
    published_dirty |= dirty;
  }

  std::function<void()> on_record;     // called after each
  std::map<std::string, int> records;  // calls per item
  int64_t room = -1;                   // results until the disk is full; negative: endless
  int flushes = 0, publications = 0;
  bool dirty = false, published_dirty = false;

 private:
  std::map<std::string, Result> results_;
  std::vector<RunInfo> runs_;
};

}  // namespace fusegrid
