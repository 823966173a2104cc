#include "checkpoint/safetensors.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/corpus.h"
#include "checkpoint/random_weights.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

TEST(SafetensorsFile, gives_our_verdict_on_every_file_of_the_corpus) {
  const TemporaryFolder folder;
  const auto path = folder / "f.safetensors";
  for (const auto& file : corpus()) {
    write_text(path, file.bytes);
    if (file.ours == Verdict::kAccept) {
      EXPECT_NO_THROW(SafetensorsFile{path}) << file.name;
    } else {
      EXPECT_THROW(SafetensorsFile{path}, DataError) << file.name;
    }
  }
}

TEST(SafetensorsFile, reads_little_endian_values_in_c_order) {
  const TemporaryFolder folder;
  // 1.0 and -2.0 as float32
  const std::string data("\x00\x00\x80\x3F\x00\x00\x00\xC0", 8);
  write_text(folder / "f", safetensors_bytes(one_tensor("F32", "2,1", "0,8")) + data);
  const at::Tensor a = SafetensorsFile(folder / "f").read("a");
  EXPECT_EQ(a.sizes().vec(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(a[0].item<float>(), 1.0F);
  EXPECT_EQ(a[1].item<float>(), -2.0F);
}

TEST(SafetensorsFile, reads_ranges_as_parts_of_the_whole) {
  const TemporaryFolder folder;
  std::mt19937_64 random(1);
  Weights weights;
  for (const auto dtype : {at::kBool, at::kHalf, at::kFloat, at::kDouble}) {
    weights.emplace(at::toString(dtype), random_tensor({7, 11}, dtype, random));
  }
  write_safetensors(folder / "f", weights);
  const SafetensorsFile file(folder / "f");
  for (const auto& [name, whole] : weights) {
    for (const auto& [begin, count] : {std::pair{0, 77}, {0, 0}, {77, 0}, {76, 1}, {5, 30}}) {
      at::Tensor part = at::empty({count}, whole.scalar_type());
      file.read_range(name, begin, count, part.mutable_data_ptr());
      EXPECT_TRUE(same_bits(part, whole.view({-1}).narrow(0, begin, count))) << name << begin;
    }
  }
}

TEST(SafetensorsFileDeathTest, ranges_outside_the_tensor_are_bugs) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::arange(4)}});
  const SafetensorsFile file(folder / "f");
  int64_t out = 0;
  EXPECT_DEATH(file.read_range("a", 4, 1, &out), "4 \\+ 1 of 4 elements of 'a'");
  EXPECT_DEATH(file.read_range("a", -1, 1, &out), "elements of 'a'");
}

TEST(SafetensorsFile, serves_threads_at_once) {
  const TemporaryFolder folder;
  std::mt19937_64 random(2);
  Weights weights;
  for (int i = 0; i < 16; ++i) {
    weights.emplace(std::to_string(i), random_tensor({500}, at::kFloat, random));
  }
  write_safetensors(folder / "f", weights);
  const SafetensorsFile file(folder / "f");
  std::atomic<int> equal = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const auto& [name, tensor] : weights) {
        equal += same_bits(file.read(name), tensor) ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(equal, 64);
}

TEST(SafetensorsFile, names_the_dtype_that_libtorch_lacks) {
  const TemporaryFolder folder;
  write_text(folder / "f", safetensors_bytes(one_tensor("F6_E2M3", "4", "0,3"), 3));
  const SafetensorsFile file(folder / "f");
  char out[3];
  EXPECT_THAT(message_of<DataError>([&] { file.read("a"); }),
              HasSubstr("F6_E2M3, of parts of quantised weights"));
  EXPECT_THAT(message_of<DataError>([&] { file.read_range("a", 0, 4, out); }), HasSubstr("F6_E2M3"));
  EXPECT_THAT(message_of<DataError>([&] { file.read("b"); }), HasSubstr("has no tensor 'b'"));
}

TEST(SafetensorsFile, reports_a_file_cut_behind_its_back) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::arange(100)}});
  const SafetensorsFile file(folder / "f");
  const auto size = std::filesystem::file_size(folder / "f");
  std::filesystem::resize_file(folder / "f", size - 300);
  EXPECT_THAT(
      message_of<DataError>([&] { file.read("a"); }),
      HasSubstr("is truncated at byte " + std::to_string(size - 300) + ", expected " + std::to_string(size)));
}

TEST(SafetensorsFile, reports_a_file_rewritten_while_it_is_open) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::arange(100)}});
  const SafetensorsFile file(folder / "f");
  EXPECT_NO_THROW(file.check_unchanged());
  write_text(folder / "f", read_text(folder / "f"));
  // a file system may count time in steps: move the time of change by hand
  std::filesystem::last_write_time(folder / "f",
                                   std::filesystem::last_write_time(folder / "f") + std::chrono::seconds(1));
  EXPECT_THAT(message_of<DataError>([&] { file.check_unchanged(); }),
              HasSubstr("must not change while it is read"));
  EXPECT_THROW(file.read("a"), DataError);
}

TEST(SafetensorsFile, refuses_what_is_no_regular_file) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(SafetensorsFile(folder / "pipe"), DataError);
  EXPECT_THROW(SafetensorsFile(folder.path()), DataError);
  EXPECT_THAT(message_of<IoError>([&] { SafetensorsFile(folder / "absent"); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace fusegrid
