#pragma once

#include <cstdlib>
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
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  void add(const std::string& name, Entry entry) {
    if (!entries_.emplace(name, std::move(entry)).second) {
      std::cerr << "fusegrid: " << kind_ << " '" << name << "' is registered twice\n";
      std::abort();  // before main(): nothing could catch an exception
    }
  }
  // Throws ConfigError listing what is known.
  const Entry& at(const std::string& name) const {
    const auto it = entries_.find(name);
    if (it == entries_.end()) {
      throw ConfigError("there is no " + kind_ + " '" + name + "'" + alternatives(name, names()));
    }
    return it->second;
  }
  bool contains(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) {
      names.push_back(name);
    }
    return names;
  }

 private:
  std::string kind_;
  std::map<std::string, Entry> entries_;
};

}  // namespace fusegrid
