#include "fusion/engines/stream_reader.h"

#include <atomic>
#include <cstring>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

// One tensor "w" of 1,000 floats: first, first + 1, ...
class CountedModel final : public ModelSource {
 public:
  explicit CountedModel(float first) : values_(at::arange(1000, at::kFloat) + first) {}
  std::string name() const override { return "counted"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read_range(const std::string&, int64_t begin, int64_t count, void* destination) const override {
    std::memcpy(destination, values_.const_data_ptr<float>() + begin,
                static_cast<size_t>(count) * sizeof(float));
    ++reads;
  }
  void check_unchanged() const override {}
  at::Tensor part(const StreamRange& range) const { return values_.narrow(0, range.begin, range.count); }

  mutable std::atomic<int> reads = 0;

 private:
  at::Tensor values_;
  std::vector<TensorInfo> tensors_{{"w", {1000}, at::kFloat}};
};

class StreamReaderTest : public testing::TestWithParam<int> {
 protected:
  StreamReader reader(int64_t keep_bytes) {
    return {{&a, &b},
            a.tensors(),
            {.threads = GetParam(), .slots = 2, .range_elements = 300, .keep_bytes = keep_bytes}};
  }
  // A pass over everything; every range must hold what the models hold.
  void read_all(StreamReader& reader, const StreamReader::Observe& observe = {}) {
    reader.start(ranges, observe);
    for (const StreamRange& range : ranges) {
      const auto values = reader.next();
      ASSERT_EQ(values.size(), 2U);
      EXPECT_TRUE(at::equal(values[0], a.part(range)));
      EXPECT_TRUE(at::equal(values[1], b.part(range)));
      reader.release();
    }
  }

  CountedModel a{0}, b{5000};
  std::vector<StreamRange> ranges{{0, 0, 300}, {0, 300, 300}, {0, 600, 300}, {0, 900, 100}};
};

TEST_P(StreamReaderTest, every_pass_reads_everything_where_nothing_is_kept) {
  StreamReader all = reader(0);
  read_all(all);
  read_all(all);
  EXPECT_EQ(a.reads, 8);
  EXPECT_EQ(all.bytes_read(), 2 * 2 * 4000);
}

TEST_P(StreamReaderTest, what_is_kept_is_read_once) {
  StreamReader all = reader(1 << 20);
  std::atomic<int> observed = 0;
  for (int pass = 0; pass < 3; ++pass) {
    read_all(all, [&](size_t, const StreamRange&, const void*, int64_t) { ++observed; });
  }
  EXPECT_EQ(a.reads, 4);
  EXPECT_EQ(b.reads, 4);
  EXPECT_EQ(observed, 8);
}

TEST_P(StreamReaderTest, what_does_not_fit_is_read_again) {
  StreamReader some = reader(2 * 1200 + 1300);  // the first range; then the last one is small enough
  read_all(some);
  read_all(some);
  EXPECT_EQ(a.reads, 4 + 2);
}

TEST_P(StreamReaderTest, ranges_that_are_cut_otherwise_are_read_again) {
  StreamReader all = reader(1 << 20);
  read_all(all);
  ranges = {{0, 0, 200}, {0, 200, 300}, {0, 600, 300}};
  read_all(all);
  EXPECT_EQ(a.reads, 4 + 2);
}

TEST_P(StreamReaderTest, an_unfinished_pass_is_given_up) {
  StreamReader all = reader(1 << 20);
  all.start(ranges, {});
  all.next();
  all.release();
  read_all(all);
}

INSTANTIATE_TEST_SUITE_P(threads, StreamReaderTest, testing::Values(0, 1, 3));

}  // namespace
}  // namespace fusegrid
