#include <condition_variable>
#include <mutex>

#include "comm/collectives.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

class LocalCollectives : public Collectives {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string name() const override { return "local"; }
  void barrier() override {}
  void all_reduce_sum(std::span<int64_t>) override {}
  std::vector<std::vector<double>> all_gather(std::span<const double> mine) override {
    return {{mine.begin(), mine.end()}};
  }
  void all_reduce_sum(at::Tensor&) override {}
  void broadcast(at::Tensor&, int root) override {
    FUSEGRID_ASSERT(root == 0, "root " + std::to_string(root));
  }
};

// What the threads of a group share: a barrier, and a slot in which each shows its argument to the others.
struct Group {
  explicit Group(int ranks) : size(ranks), slots(ranks) {}

  void barrier() {
    std::unique_lock lock(mutex);
    const uint64_t mine = generation;
    if (++arrived == size) {
      arrived = 0;
      ++generation;
      all_here.notify_all();
      return;
    }
    all_here.wait(lock, [&] { return generation != mine; });
  }

  const int size;
  std::vector<void*> slots;
  std::mutex mutex;
  std::condition_variable all_here;
  int arrived = 0;
  uint64_t generation = 0;
};

class ThreadCollectives : public Collectives {
 public:
  ThreadCollectives(int rank, std::shared_ptr<Group> group) : rank_(rank), group_(std::move(group)) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size; }
  std::string name() const override { return "threads"; }
  void barrier() override { group_->barrier(); }

  void all_reduce_sum(std::span<int64_t> values) override {
    std::vector<int64_t> sum(values.size(), 0);
    exchange(values, [&](const std::span<int64_t>& theirs) {
      FUSEGRID_ASSERT(theirs.size() == sum.size(), "ranks sum arrays of different lengths");
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += theirs[i];
      }
    });
    std::copy(sum.begin(), sum.end(), values.begin());
  }

  std::vector<std::vector<double>> all_gather(std::span<const double> mine) override {
    std::vector<std::vector<double>> all;
    exchange(mine,
             [&](const std::span<const double>& theirs) { all.emplace_back(theirs.begin(), theirs.end()); });
    return all;
  }

  void all_reduce_sum(at::Tensor& tensor) override {
    at::Tensor sum;
    exchange(tensor, [&](const at::Tensor& theirs) {
      if (!sum.defined()) {
        sum = theirs.clone();
      } else {
        sum.add_(theirs);
      }
    });
    tensor.copy_(sum);
  }

  void broadcast(at::Tensor& tensor, int root) override {
    group_->slots[rank_] = &tensor;
    group_->barrier();
    if (rank_ != root) {
      tensor.copy_(*static_cast<at::Tensor*>(group_->slots[root]));
    }
    group_->barrier();
  }

 private:
  // Calls `use` with every rank's `mine`, in rank order; nobody changes its own before all have looked.
  template <typename T, typename Use>
  void exchange(T& mine, const Use& use) {
    group_->slots[rank_] = const_cast<void*>(static_cast<const void*>(&mine));
    group_->barrier();
    for (void* slot : group_->slots) {
      use(*static_cast<T*>(slot));
    }
    group_->barrier();
  }

  int rank_;
  std::shared_ptr<Group> group_;
};

}  // namespace

std::unique_ptr<Collectives> local_collectives() {
  return std::make_unique<LocalCollectives>();
}

std::vector<std::unique_ptr<Collectives>> thread_collectives(int ranks) {
  auto group = std::make_shared<Group>(ranks);
  std::vector<std::unique_ptr<Collectives>> all;
  for (int rank = 0; rank < ranks; ++rank) {
    all.push_back(std::make_unique<ThreadCollectives>(rank, group));
  }
  return all;
}

}  // namespace fusegrid
