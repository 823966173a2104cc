#pragma once

#include <map>
#include <string>

namespace fusegrid {

// Estimated seconds of repeated work, learnt from recorded costs: an exponentially weighted mean per key
// ("fuse/ties", "evaluate/mnist"), since the newest measurements are of the machine at hand.
class CostModel {
 public:
  // Ignores a negative time or NaN: a broken clock must not stop a campaign.
  void observe(const std::string& key, double seconds);
  // `prior` where the key was never observed.
  double estimate(const std::string& key, double prior) const;

 private:
  std::map<std::string, double> means_;
};

}  // namespace fusegrid
