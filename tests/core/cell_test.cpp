#include "core/cell.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(Cell, name_reads_back) {
  const std::string name = "vision8-small/experts=8/ties{density=0.2,scale=0.3}/seed=4/mnist@noise-3";
  const Cell cell = Cell::parse(name);
  EXPECT_EQ(cell.name(), name);
  EXPECT_EQ(cell.zoo, "vision8-small");
  EXPECT_EQ(cell.experts, "8");
  EXPECT_EQ(cell.method, "ties");
  EXPECT_EQ(cell.parameters, "density=0.2,scale=0.3");
  EXPECT_EQ(cell.seed, 4);
  EXPECT_EQ(cell.task, "mnist");
  EXPECT_EQ(cell.shift, "noise-3");
}

TEST(Cell, of_a_method_without_parameters_and_of_named_experts_reads_back) {
  const std::string name = "z/experts=mnist+svhn/pretrained/seed=0/svhn@clean";
  const Cell cell = Cell::parse(name);
  EXPECT_EQ(cell.name(), name);
  EXPECT_EQ(cell.method_text(), "pretrained");
  EXPECT_EQ(cell.experts, "mnist+svhn");
}

TEST(Cell, cells_of_one_merge_differ_in_task_and_shift_only) {
  const Cell a = Cell::parse("z/experts=2/m{a=1}/seed=0/x@clean");
  const Cell b = Cell::parse("z/experts=2/m{a=1}/seed=0/y@noise-1");
  EXPECT_EQ(a.without_task(), b.without_task());
  EXPECT_EQ(a.without_task(), "z/experts=2/m{a=1}/seed=0");
}

TEST(Cell, refuses_what_is_no_name) {
  for (const auto* name :
       {"", "a/b", "z/2/m/seed=0/t@clean", "z/experts=2/m/0/t@clean", "z/experts=2/m/seed=x/t@clean",
        "z/experts=2/m/seed=0/t", "z/experts=2/m/seed=0/t@clean/more"}) {
    EXPECT_THROW(Cell::parse(name), ConfigError) << name;
  }
}

// A name that is accepted is canonical: it reads back to itself.
TEST(Cell, refuses_a_name_that_is_not_canonical) {
  for (const auto* name : {"z/experts=2/m{a=1/seed=0/t@clean", "z/experts=2/m{}/seed=0/t@clean",
                           "z/experts=2/m{a=1}x/seed=0/t@clean", "z/experts=2/m/seed=+1/t@clean",
                           "z/experts=2/m/seed=01/t@clean"}) {
    EXPECT_THROW(Cell::parse(name), ConfigError) << name;
  }
}

}  // namespace
}  // namespace fusegrid
