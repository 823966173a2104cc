#pragma once

#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "core/alternatives.h"
#include "core/errors.h"

namespace fusegrid {

// Name -> entry, filled by static objects before main(). Sorted, so that every rank sees one order whatever
// the order of static initialisation was. Linked through OBJECT libraries (a STATIC one would drop files that
// nothing refers to).
template <typename Entry>
class Registry {
 public:
  // Entries whose names nobody knows before they are asked for; nullptr: there is none.
  using Others = std::function<const Entry*(const std::string& name)>;

  explicit Registry(std::string kind, Others others = {})
      : kind_(std::move(kind)), others_(std::move(others)) {}

  void add(const std::string& name, Entry entry) {
    if (!entries_.emplace(name, std::move(entry)).second) {
      std::cerr << "fusegrid: " << kind_ << " '" << name << "' is registered twice\n";
      std::abort();  // before main(): nothing could catch an exception
    }
  }
  // Throws ConfigError listing what is known.
  const Entry& at(const std::string& name) const {
    const Entry* entry = find(name);
    if (entry == nullptr) {
      throw ConfigError("there is no " + kind_ + " '" + name + "'" + alternatives(name, names()));
    }
    return *entry;
  }
  bool contains(const std::string& name) const { return find(name) != nullptr; }
  // Of those that were added.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) {
      names.push_back(name);
    }
    return names;
  }

 private:
  const Entry* find(const std::string& name) const {
    if (const auto it = entries_.find(name); it != entries_.end()) {
      return &it->second;
    }
    return others_ ? others_(name) : nullptr;
  }

  std::string kind_;
  Others others_;
  std::map<std::string, Entry> entries_;
};

}  // namespace fusegrid
