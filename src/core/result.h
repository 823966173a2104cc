// What one unit of work (a cell of a grid, an expert of a zoo) leaves behind.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fusegrid {

enum class Status {
  kValid,    // measured
  kInvalid,  // measured, but not to be trusted: NaN, too few samples, an expert far from its recorded score
  kFailed,   // every attempt crashed, hung or threw
};
std::string to_string(Status status);
Status parse_status(const std::string& text);

// One number. `count` is the number of examples behind it; accuracies are fractions in [0, 1].
struct Metric {
  std::string name;   // "accuracy", "loss" (mean cross-entropy, nats), ...; docs/metrics.md
  std::string split;  // "val" or "test"
  double value = 0;
  int64_t count = 0;
};

// What the model answered to each example of a split, in the order of the task pack.
struct Outcomes {
  std::string split;
  std::vector<uint16_t> predictions;  // predicted class
  std::vector<uint8_t> correct;       // 1 where it equals the label
};

struct Result {
  std::string name;  // identity of the item (Cell::name() in a grid)
  Status status = Status::kValid;
  std::string reason;    // why it is invalid or failed: signal or message; "" when valid
  std::string log_tail;  // last lines of the executor's stderr, of failed items only
  std::vector<Metric> metrics;
  std::vector<Outcomes> outcomes;
  // Facts that are the same on every run: "weights_sha256", "stored_parameters", learnt coefficients, ...
  std::map<std::string, std::string> facts;
  // Seconds per phase ("load", "fuse", "evaluate", ...) and other measurements that differ from run to run.
  std::map<std::string, double> timings;
  int64_t attempts = 1;
  std::string worker;  // host, rank and device that ran it
};

// Lossless both ways; outcomes travel as binary, so use CBOR (nlohmann::json::to_cbor) on the wire and in the
// journal.
void to_json(nlohmann::json& json, const Result& result);
void from_json(const nlohmann::json& json, Result& result);

}  // namespace fusegrid
