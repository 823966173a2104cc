#pragma once

#include <cstdint>
#include <string>

namespace fusegrid {

// Where a tensor stands, by its name: "encoder.layers.3.fc1.weight" is tensor "fc1.weight" of block 3 of the stack
// "encoder.layers.". The first number counts; a name without one is outside of all blocks.
struct BlockName {
  bool inside = false;
  std::string stack;  // with its dot; "" outside, and where the name begins with the number
  int64_t block = 0;
  std::string rest;  // behind the number and its dot; outside the whole name
};

BlockName block_name(const std::string& tensor);

}  // namespace fusegrid
