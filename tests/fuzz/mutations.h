#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrid::fuzz {

// Makes inputs from inputs: a few random edits of bytes, numbers, words and pieces of others. The same seed makes the
// same inputs.
class Mutator {
 public:
  Mutator(uint64_t seed, std::vector<std::string> words);

  std::string next(const std::vector<std::string>& corpus);

 private:
  size_t below(size_t limit);  // 0 where limit is 0
  void edit(std::string& input, const std::vector<std::string>& corpus);
  void edit_number(std::string& input);

  std::mt19937_64 random_;
  std::vector<std::string> words_;
};

}  // namespace fusegrid::fuzz
