#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace fusegrid {

// Keeps values by key up to a number of bytes. What was not used for longest is dropped first, but never what somebody
// holds: its memory would not become free. So a limit that is smaller than what is in use is exceeded by that much.
template <typename Value>
class LeastRecentlyUsed {
 public:
  explicit LeastRecentlyUsed(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // nullptr where it is not kept.
  std::shared_ptr<const Value> find(const std::string& key) {
    const auto it = entries_.find(key);
    if (it == entries_.end()) {
      return nullptr;
    }
    newest_first_.splice(newest_first_.begin(), newest_first_, it->second.age);
    return it->second.value;
  }

  // Drops until `bytes` more fit, or nothing is left that can go: before they are made, so that both are never there.
  void make_room(int64_t bytes) {
    for (auto key = newest_first_.end(); bytes_ + bytes > limit_bytes_ && key != newest_first_.begin();) {
      const auto entry = entries_.find(*--key);
      if (entry->second.value.use_count() == 1) {
        bytes_ -= entry->second.bytes;
        entries_.erase(entry);
        key = newest_first_.erase(key);
      }
    }
  }

  // A new key; `value` is kept whatever its size, until room is made for another.
  std::shared_ptr<const Value> keep(const std::string& key, Value value, int64_t bytes) {
    make_room(bytes);
    newest_first_.push_front(key);
    auto shared = std::make_shared<const Value>(std::move(value));
    entries_.emplace(key, Entry{shared, bytes, newest_first_.begin()});
    bytes_ += bytes;
    return shared;
  }

  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::shared_ptr<const Value> value;
    int64_t bytes = 0;
    std::list<std::string>::iterator age;
  };
  int64_t limit_bytes_;
  int64_t bytes_ = 0;
  std::map<std::string, Entry> entries_;
  std::list<std::string> newest_first_;
};

}  // namespace fusegrid
