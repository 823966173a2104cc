#include "checkpoint/safetensors_writer.h"

#include <csignal>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/corpus.h"
#include "checkpoint/random_weights.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Weights read_file(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  Weights weights;
  for (const auto& tensor : file.tensors()) {
    weights.emplace(tensor.name, file.read(tensor.name));
  }
  return weights;
}

TEST(WriteSafetensors, round_trips_every_dtype) {
  const TemporaryFolder folder;
  std::mt19937_64 random(3);
  Weights weights;
  for (const auto dtype : stored_dtypes()) {
    weights.emplace(at::toString(dtype), random_tensor({3, 5}, dtype, random));
  }
  write_safetensors(folder / "f", weights, {{"format", "pt"}});
  EXPECT_EQ(weights.size(), 19U);
  EXPECT_TRUE(same_bits(read_file(folder / "f"), weights));
  EXPECT_EQ(SafetensorsFile(folder / "f").metadata().at("format"), "pt");
}

TEST(WriteSafetensors, round_trips_random_layouts) {
  const TemporaryFolder folder;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const Weights weights = random_weights(random);
    write_safetensors(folder / "f", weights);
    ASSERT_TRUE(same_bits(read_file(folder / "f"), weights)) << "seed " << seed;
  }
}

TEST(WriteSafetensors, gives_exactly_these_bytes) {
  const TemporaryFolder folder;
  const at::Tensor two = at::arange(1, 3).to(at::kShort);
  const Weights weights{{"b", two}, {"a", two.narrow(0, 1, 1)}};
  write_safetensors(folder / "f", weights, {{"k", "v"}});
  std::string header = R"({"__metadata__":{"k":"v"},"a":)" + tensor_json("I16", "1", "0,2") + R"(,"b":)" +
                       tensor_json("I16", "2", "2,6") + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(read_text(folder / "f"), safetensors_bytes(header) + std::string("\2\0\1\0\2\0", 6));
  EXPECT_EQ(read_text(folder / "f"), safetensors_bytes(weights, {{"k", "v"}}));
  EXPECT_THAT(folder.names(), ElementsAre("f"));
}

TEST(WriteSafetensors, writes_views_in_c_order) {
  const TemporaryFolder folder;
  const at::Tensor transposed = at::arange(6).view({2, 3}).t();
  write_safetensors(folder / "f", {{"t", transposed}});
  EXPECT_TRUE(read_file(folder / "f").at("t").equal(transposed));
}

TEST(WriteSafetensors, refuses_what_cannot_be_read_back) {
  const TemporaryFolder folder;
  const at::Tensor one = at::zeros({1});
  const auto message = [&](const std::string& name, const at::Tensor& tensor) {
    return message_of<ConfigError>([&] { write_safetensors(folder / "f", {{name, tensor}}); });
  };
  EXPECT_THAT(message("__metadata__", one), HasSubstr("cannot be written"));
  EXPECT_THAT(message("a\n", one), HasSubstr("no control characters"));
  EXPECT_THAT(message(std::string(1025, 'n'), one), HasSubstr("at most 1024 bytes"));
  EXPECT_THAT(message("\xFF", one), HasSubstr("UTF-8"));
  EXPECT_THAT(message("c", at::zeros({1}, at::kComplexDouble)),
              HasSubstr("ComplexDouble, which safetensors lacks"));
  EXPECT_THAT(folder.names(), ElementsAre());
}

TEST(WriteSafetensors, names_the_folder_that_is_missing) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<IoError>([&] { write_safetensors(folder / "absent/f", {}); }),
              HasSubstr("No such file"));
}

TEST(SafetensorsWriter, gives_the_same_bytes_for_any_order_of_pieces) {
  const TemporaryFolder folder;
  std::mt19937_64 random(4);
  const Weights weights{{"a", random_tensor({10}, at::kFloat, random)},
                        {"b", random_tensor({6}, at::kHalf, random)}};
  write_safetensors(folder / "whole", weights);
  SafetensorsWriter writer(folder / "pieces", tensor_infos(weights));
  const auto write = [&](const std::string& name, int64_t begin, int64_t count) {
    const at::Tensor piece = weights.at(name).narrow(0, begin, count);
    writer.write_range(name, begin, count, piece.const_data_ptr());
  };
  write("b", 4, 2);
  write("a", 7, 3);
  write("b", 0, 4);
  write("a", 0, 7);
  EXPECT_FALSE(std::filesystem::exists(folder / "pieces")) << "visible before it is complete";
  writer.finish();
  EXPECT_EQ(read_text(folder / "pieces"), read_text(folder / "whole"));
}

TEST(SafetensorsWriter, leaves_the_old_file_and_nothing_else_where_it_is_not_finished) {
  const TemporaryFolder folder;
  write_text(folder / "f", "old");
  { const SafetensorsWriter writer(folder / "f", {{"a", {1000}, at::kFloat}}); }
  EXPECT_EQ(read_text(folder / "f"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("f"));
}

TEST(SafetensorsWriterDeathTest, finishing_with_missing_elements_is_a_bug) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "f", {{"a", {2}, at::kFloat}});
  const float value = 1;
  writer.write_range("a", 0, 1, &value);
  EXPECT_DEATH(writer.finish(), "4 of 8 bytes");
}

// A limit on the size of files stands in for a full disk: both let a write fail part-way.
TEST(WriteSafetensors, leaves_nothing_behind_when_the_disk_is_full) {
  const TemporaryFolder folder;
  write_text(folder / "f", "old");
  const Weights weights{{"a", at::zeros({50'000})}};  // not in the child, which has no threads of LibTorch
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int status = 1;
    try {
      write_safetensors(folder / "f", weights);
    } catch (const IoError& error) {
      status = std::string(error.what()).find("File too large (at byte 100000)") == std::string::npos ? 2 : 0;
    }
    ::_exit(status);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: nothing thrown, 2: another message";
  EXPECT_EQ(read_text(folder / "f"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("f"));
}

}  // namespace
}  // namespace fusegrid
