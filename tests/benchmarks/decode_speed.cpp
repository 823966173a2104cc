// Prints what greedy decoding of text-to-text tasks costs, with the memory that evaluation uses, beside decoding
// that encodes once and makes every row of the answer again, and beside decoding without any memory, in the same run.
//
//   decode_speed ZOO [cpu | cuda:0]
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>

#include <ATen/Parallel.h>

#include "models/feeder.h"
#include "worker/device.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

constexpr int64_t kBatch = 256;

// Seconds of all test examples of the tasks.
double seconds(const Network& network, const PackData& data, const std::vector<std::string>& tasks,
               const Asker& output) {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& task : tasks) {
    data.kind(task).answer(data.examples(task, "test", -1),
                           {.feed = feed_of(network), .output = output, .batch = kBatch});
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Asker without_memory(const Asker& output) {
  return [=](const Inputs& ready, Memory*) { return output(ready, nullptr); };
}

// Each pass goes on from what the first one left: keys and values of the input, and the answer's first row.
Asker encoding_once(const Asker& output) {
  auto first = std::make_shared<Memory>();
  return [=](const Inputs& ready, Memory*) {
    if (ready.answer.size(1) == 0) {
      first->tokens = 0;
      first->tensors.clear();
      return output(ready, first.get());
    }
    Memory again;
    again.tokens = first->tokens;
    again.tensors = first->tensors;
    return output(ready, &again);
  };
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  if (argc < 2) {
    std::cerr << "usage: decode_speed ZOO [cpu | cuda:0]\n";
    return 1;
  }
  at::set_num_threads(1);
  const at::Device device(argc > 2 ? argv[2] : "cpu");
  if (device.is_cuda()) {
    load_cuda();
  }
  const Zoo zoo = find_zoo(argv[1]);
  const LoadedReplicate models = load_replicate(zoo, zoo.replicates.front(), {}, false, device);
  const PackData data(zoo.pack, device, {.resident = int64_t{1} << 40});
  const Asker output = asker_of(models.network, models.base, zoo.tasks.front());
  const double with = seconds(models.network, data, zoo.tasks, output);
  const double once = seconds(models.network, data, zoo.tasks, encoding_once(output));
  const double without = seconds(models.network, data, zoo.tasks, without_memory(output));
  std::cout << "| " << zoo.name << " | " << device.str() << " | " << with << " s | " << once / with << " x | "
            << without / with << " x |\n";
  return 0;
}
