// Seconds and bytes of single cells on machines that nobody has measured yet, from the sizes of their zoo and the card
// and parameters of their method. Seconds are those of one CPU core and order work; bytes are those of an executor.
#pragma once

#include <cstdint>

#include "coordinator/cell_data.h"
#include "core/cell.h"
#include "fusion/method.h"
#include "zoo/zoo.h"

namespace fusegrid {

// The sizes that estimates rest on.
struct ZooSize {
  int64_t model_bytes = 0;       // of one model in memory, float32
  int64_t checkpoint_bytes = 0;  // of one model's files
  int64_t tokens = 1;            // of an input
  int64_t width = 1;             // of a token
  int64_t blocks = 1;
  int64_t input_bytes = 1;  // as it is kept
  PackContents contents = {};
  int64_t pack_bytes = 0;  // of its file
};
ZooSize zoo_size(const Zoo& zoo, const PackContents& contents);

int64_t num_experts(const Cell& cell);
// Forward passes that an answer takes, in units of one model's.
double models_asked(const Cell& cell);

double prior_fuse_s(const Cell& cell, const ZooSize& size);
// Of so many images by one model.
double prior_evaluate_s(const ZooSize& size, int64_t images);
double prior_read_s(int64_t bytes);
// Of a task that a command answers, of which nothing is known: more than of one of a small zoo.
constexpr double kPriorCommandSeconds = 60;

// Of an executor before it has read anything.
constexpr int64_t kProgramBytes = int64_t{230} << 20;
// What a cell takes beside models and data: its result, the method's working copies, and activations.
int64_t work_bytes(const Cell& cell, const ZooSize& size, int64_t batch);
// What its merge leaves for others: directions, decompositions, Gram matrices, Fisher diagonals.
int64_t statistics_bytes(const Cell& cell, const ZooSize& size);

}  // namespace fusegrid
