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
  const Records& records() const override { return records_; }
  void record(const Result& result) override {
    if (room == 0) {
      throw IoError("the disk is full");
    }
    --room;
    ++times_recorded[result.name];
    records_.results[result.name] = result;
    dirty = true;
    if (on_record) {
      on_record();
    }
  }
  void record_examples(const ExamplesRecord& examples) override {
    records_.examples.emplace(examples.key(), examples);
  }
  void record_plan(const std::string& job, const std::vector<std::string>& items) override {
    records_.plans[job] = items;
  }
  void forget(const std::vector<std::string>& names) override {
    for (const auto& name : names) {
      records_.results.erase(name);
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

  std::function<void()> on_record;            // called after each
  std::map<std::string, int> times_recorded;  // by item
  int64_t room = -1;                          // results until the disk is full; negative: endless
  int flushes = 0, publications = 0;
  bool dirty = false, published_dirty = false;

 private:
  Records records_;
};

}  // namespace fusegrid
