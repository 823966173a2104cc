// What `experts` of a job stands for: which sets of a zoo's experts are merged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zoo/zoo.h"

namespace fusegrid {

// One set, as cells name it.
struct ExpertSet {
  std::string experts;  // "3" where they are the first three of the zoo, else their names, joined by '+'
  std::string draw;     // "random 7", "nested 2": which draw or order it is of; "" where the job names it
};

// The sets of one value of `experts`:
//
//   all, 3, 2..8, mnist+fashion   as they are written
//   random(K, R)   R different sets of K experts, drawn at random
//   nested(K, R)   the first K experts of each of R random orders; so those of a smaller K are in those of a larger
//
// K is a number, or several: 2..6, 2:4:8. A draw depends on its number, on K and on how many experts the zoo has: that
// of 20 draws begins with that of 10, and zoos of one size draw alike. Drawn experts stand in the zoo's order.
//   ConfigError: the zoo has no such set, or not so many of them.
std::vector<ExpertSet> expert_sets(const Zoo& zoo, const std::string& text);

// Checks what can be checked without a zoo. ConfigError.
void check_experts_text(const std::string& text);

// One text for one set of experts.
std::string canonical_experts(const Zoo& zoo, const std::vector<std::string>& experts);

}  // namespace fusegrid
