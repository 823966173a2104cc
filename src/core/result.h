// What one unit of work (a cell of a grid, an expert of a zoo) leaves behind.
#pragma once

#include <cstdint>
#include <map>
#include <set>
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

// Per example of a split, in the order of the task pack, the numbers whose sums a metric is a function of. For an
// accuracy that is one number: 1 where the answer was right, else 0.
struct Outcomes {
  std::string split;
  std::string metric;
  int64_t width = 1;        // numbers of an example
  std::vector<float> rows;  // [examples, width]

  int64_t examples() const { return static_cast<int64_t>(rows.size()) / width; }
  // Whether each example has one number, 0 or 1; such outcomes are stored as bytes.
  bool are_marks() const;
};

// The class that the model answered to each example of a split, in the order of the task pack.
struct Predictions {
  std::string split;
  std::vector<int32_t> classes;
};

struct Result {
  std::string name;  // identity of the item (Cell::name() in a grid)
  Status status = Status::kValid;
  std::string reason;  // why it is invalid or failed: signal or message; "" when valid
  // Of a failed item: the cause lay outside the item (memory, disk, a lost worker), so that the next launch runs it
  // again.
  bool transient = false;
  std::string log_tail;  // last lines of the executor's stderr, of failed items only
  std::vector<Metric> metrics;
  std::vector<Outcomes> outcomes;        // one per split and metric
  std::vector<Predictions> predictions;  // one per split; none where a task has no classes
  // What decides the numbers besides the name and the bindings of the launch (store/records.h): "parameters", those of
  // the method with every default. A recorded result whose bindings are not the planned ones is stale.
  std::map<std::string, std::string> bindings;
  // Facts that are the same on every run: "weights_sha256", "stored_parameters", learnt coefficients, ...
  std::map<std::string, std::string> facts;
  // What differs from run to run: "load_s", "fuse_s", "evaluate_s", ... (docs/results_format.md).
  std::map<std::string, double> costs;
  int64_t attempts = 1;
  std::string worker;  // host, rank and device that ran it
};

// The splits that the result was evaluated on, even where its metrics are undefined there.
std::set<std::string> splits_of(const Result& result);

// Lossless both ways; outcomes travel as binary, so use CBOR (nlohmann::json::to_cbor) on the wire and in the
// journal.
void to_json(nlohmann::json& json, const Result& result);
void from_json(const nlohmann::json& json, Result& result);

// Whole numbers and reals as a binary value, little-endian, and back; reading throws DataError where the bytes are no
// whole number of entries. T: uint8_t, int32_t, uint32_t, float.
template <typename T>
nlohmann::json binary_of(const std::vector<T>& values);
template <typename T>
std::vector<T> values_of(const nlohmann::json& binary);

}  // namespace fusegrid
