#include "coordinator/cell_data.h"

#include <gmock/gmock.h>

#include "coordinator/grid_world.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using CellData = GridTest;

TEST_F(CellData, empty_splits_are_refused_before_anything_runs) {
  const PackContents whole = pack_of({{"a", 9}, {"b", 9}, {"c", 0}});
  EXPECT_NO_THROW(check_data(cells("[fake_average]\n"), three_tasks(), whole));
  EXPECT_NO_THROW(check_data(cells("experts = 2\n[fake_train]\n"), three_tasks(), whole));
  EXPECT_THAT([&] { check_data(cells("[fake_train]\n"), three_tasks(), whole); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("needs examples of split 'train' of task 'c'")));
  PackContents no_test = whole;
  no_test["b"].examples.erase("test");
  EXPECT_THAT([&] { check_data(cells("[fake_average]\n"), three_tasks(), no_test); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("split 'test' of task 'b'")));
}

TEST_F(CellData, tasks_that_the_models_cannot_read_are_refused_before_anything_runs) {
  const auto grid = cells("experts = 1\nshift = contrast-1\n[fake_average]\n");
  PackContents pack = pack_of({{"a", 9}});
  EXPECT_NO_THROW(check_data(grid, three_tasks(), pack))
      << "whether it has the tasks of other experts or not";
  pack["a"].image_width = 13;
  EXPECT_THAT([&] { check_data(grid, three_tasks(), pack); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("images of 12 x 12 pixels")));
  pack["a"].image_height = 0;
  pack["a"].longest_row = 9;
  EXPECT_THAT([&] { check_data(grid, three_tasks(), pack); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("the models read images, but")));
  Zoo texts = three_tasks();
  texts.replicates[0].base = base_folder("texts");
  EXPECT_THAT([&] { check_data(grid, texts, pack); },
              testing::ThrowsMessage<ConfigError>(
                  HasSubstr("'contrast-1' changes images, but the inputs of task 'a'")));
  const auto typos = cells("experts = 1\nshift = typos-1\n[fake_average]\n");
  EXPECT_NO_THROW(check_data(typos, texts, pack));
  EXPECT_THAT(
      [&] {
        check_data(typos, three_tasks(), pack_of({{"a", 9}}));
      },
      testing::ThrowsMessage<ConfigError>(
          HasSubstr("'typos-1' changes tokens, but the inputs of task 'a' are images")));
  texts.replicates[0].base = base_folder("decoder");
  pack["a"].attributes = {{"longest_answer", 4}};
  EXPECT_THAT([&] { check_data(grid, texts, pack); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("at most 11 tokens, answers included")));
}

TEST_F(CellData, classes_of_all_tasks_are_asked_for_where_there_are_others) {
  PackContents pack = pack_of({{"a", 9}, {"b", 9}, {"c", 9}});
  pack["a"].class_names = {"one", "two"};
  pack["b"].class_names = {"red", "green"};
  pack["c"].class_names = {"one", "two"};
  const auto check = [&](const std::string& lines) {
    check_data(cells(lines + "shift = all_labels\n[fake_average]\n"), three_tasks(), pack);
  };
  EXPECT_NO_THROW(check("experts = 2\ntask = all\n"));
  EXPECT_THAT([&] { check("experts = 1\n"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("all of them have the same")));
  EXPECT_THAT([&] { check("experts = a+c\ntask = b\n"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("none of them has its classes")));
}

TEST_F(CellData, methods_whose_demands_are_not_met_are_refused_before_anything_runs) {
  Zoo zoo = three_tasks();
  const auto grid = cells("experts = 1\n[fake_routed]\n");
  EXPECT_NO_THROW(check_data(grid, zoo, pack_of({{"a", 9}})));
  zoo.replicates[0].base = base_folder("perceptron");
  EXPECT_THAT(
      [&] {
        check_data(grid, zoo, pack_of({{"a", 9}}));
      },
      testing::ThrowsMessage<ConfigError>(
          HasSubstr("method 'fake_routed' needs a stack of blocks with MLPs, which mlp has not")));
}

TEST_F(CellData, classes_that_no_merged_expert_has_seen_are_refused_before_anything_runs) {
  Zoo zoo = three_tasks();
  zoo.experts[0].classes = {{"a", {"x", "y"}}};
  zoo.experts[1].classes = {{"a", {"z"}}};
  PackContents pack = pack_of({{"a", 9}, {"b", 9}, {"c", 9}});
  pack["a"].class_names = {"x", "y", "z"};
  const auto check = [&](const std::string& experts) {
    check_data(cells("experts = " + experts + "\ntask = a\n[fake_seen]\n"), zoo, pack);
  };
  EXPECT_NO_THROW(check("a+b"));
  EXPECT_NO_THROW(check("c")) << "it has seen all";
  EXPECT_THAT([&] { check("a"); }, testing::ThrowsMessage<ConfigError>(HasSubstr(
                                       "but of a none has seen 'z' of task 'a'; merge an expert that has")));
  zoo.experts[1].classes = {{"a", {"zz"}}};
  EXPECT_THAT([&] { check("a+b"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("to have seen the class 'zz' of task 'a'")));
}

TEST_F(CellData, demands_are_asked_of_every_method_and_task) {
  Zoo zoo = three_tasks();
  PackContents pack = pack_of({{"a", 9}, {"b", 9}, {"c", 9}});
  pack["c"].kind = "regress";
  const auto check = [&](const std::string& methods) {
    check_data(cells("experts = 1\ntask = all\n" + methods), zoo, pack);
  };
  EXPECT_THAT(
      [&] { check("[fake_classes]\n"); },
      testing::ThrowsMessage<ConfigError>(AllOf(HasSubstr("'fake_classes'"), HasSubstr("task 'c' has not"))));
  zoo.replicates[0].base = base_folder("perceptron");
  EXPECT_NO_THROW(check("[fake_average]\n"));
  EXPECT_THAT([&] { check("[fake_average]\n[fake_routed]\n"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("method 'fake_routed' needs")));
}

}  // namespace
}  // namespace fusegrid
