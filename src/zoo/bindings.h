#pragma once

#include <map>
#include <string>

#include "zoo/zoo.h"

namespace fusegrid {

// What decides the numbers of a replicate's cells and is not in their names, as input -> digest:
//
//   <zoo>/<seed>/base, .../expert/<name>, .../multitask   parameters, as zoo.json records them: model_key()
//   <zoo>/<seed>/classes/<expert>                         which classes of which tasks it has seen, where not all
//   <zoo>/<seed>/heads/<task>                             the readout, with the base's projection
//   <zoo>/<seed>/multitask_heads/<task>                   the multi-task model's own, where it has any
//   <zoo>/<seed>/config                                   architecture, normalisation and pooling
//
// A model is not read where zoo.json records its digest: whoever loads it compares (load_replicate).
std::map<std::string, std::string> replicate_bindings(const Zoo& zoo, const Replicate& replicate);

// <zoo>/pack: digest of the whole file.
std::string pack_binding(const Zoo& zoo);

// DataError naming the first binding of `seen` to which `expected` gives another value. What `expected` does not name
// is not compared.
void check_same_bindings(const std::map<std::string, std::string>& expected,
                         const std::map<std::string, std::string>& seen);

}  // namespace fusegrid
