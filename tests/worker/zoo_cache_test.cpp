#include "worker/zoo_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

class ZooCacheTest : public TinyZoos {
 protected:
  ZooCache cache(int64_t model_bytes = int64_t{1} << 30) const {
    return ZooCache(
        {{"embedded-tiny", zoo_folder().string()}, {"other-tiny", zoo_folder("other-tiny").string()}},
        at::kCPU, {.models = model_bytes});
  }
};

TEST_F(ZooCacheTest, reads_only_the_models_that_are_asked_for) {
  ZooCache zoos = cache();
  OpenZoo& zoo = zoos.open("embedded-tiny");
  fs::remove_all(model("experts/rows"));
  fs::remove_all(model("multitask"));
  const auto models = zoo.models(0, {"base", "expert/bars"});
  ASSERT_EQ(models.size(), 2U);
  EXPECT_EQ(models[0]->digest, zoo.zoo().replicate(0).digests.at("base"));
  EXPECT_EQ(models[1]->digest, digest(models[1]->weights));
  EXPECT_ANY_THROW(zoo.models(0, {"expert/rows"}));
}

TEST_F(ZooCacheTest, reads_a_model_once_while_it_is_kept) {
  ZooCache zoos = cache();
  OpenZoo& zoo = zoos.open("embedded-tiny");
  const LoadedModel* first = zoo.models(0, {"expert/bars"})[0].get();
  EXPECT_NE(zoo.models(1, {"expert/bars"})[0].get(), first);
  EXPECT_EQ(zoo.models(0, {"expert/rows", "expert/bars"})[1].get(), first);
}

TEST_F(ZooCacheTest, what_a_cell_needs_makes_no_room_for_itself) {
  ZooCache zoos = cache(0);
  OpenZoo& zoo = zoos.open("embedded-tiny");
  const std::vector<std::string> all{"base", "expert/bars", "expert/rows"};
  auto models = zoo.models(0, all);
  const LoadedModel* base = models[0].get();
  models = {};  // the cell is done
  EXPECT_EQ(zoo.models(0, all)[0].get(), base);
  fs::remove_all(zoo_folder());  // from now on nothing can be read
  EXPECT_EQ(zoo.models(0, all)[0].get(), base);
  zoos.open("other-tiny").models(0, {"base"});
  EXPECT_ANY_THROW(zoo.models(0, all)) << "another zoo's base took the room";
}

TEST_F(ZooCacheTest, opens_a_zoo_and_its_networks_once) {
  ZooCache zoos = cache();
  OpenZoo& zoo = zoos.open("embedded-tiny");
  EXPECT_EQ(&zoos.open("embedded-tiny"), &zoo);
  EXPECT_NE(&zoos.open("other-tiny"), &zoo);
  EXPECT_EQ(&zoos.open("embedded-tiny"), &zoo) << "opening another closes none";
  const Network& network = zoo.network(0);
  EXPECT_NE(&zoo.network(1), &network);
  EXPECT_EQ(&zoo.network(0), &network);
  EXPECT_THROW(zoo.network(2), ConfigError);
}

TEST_F(ZooCacheTest, tells_what_the_owner_of_a_task_scored) {
  ZooCache zoos = cache();
  OpenZoo& zoo = zoos.open("embedded-tiny");
  const auto scores = zoo.owner_scores(tiny_cell("individual", "rows"));
  EXPECT_EQ(scores.at("rows/test/accuracy"), zoo.zoo().replicate(0).scores.at("rows/rows/test/accuracy"));
  EXPECT_FALSE(scores.contains("bars/test/accuracy"));
  const Cell without = tiny_cell("individual", "rows", "clean", 0, "embedded-tiny", "bars");
  EXPECT_TRUE(zoo.owner_scores(without).empty()) << "the owner is not among the experts";
}

TEST_F(ZooCacheTest, a_model_that_cannot_be_read_leaves_nothing_behind) {
  ZooCache zoos = cache();
  OpenZoo& zoo = zoos.open("embedded-tiny");
  const fs::path away = copy() / "away";
  fs::rename(model("experts/rows"), away);
  EXPECT_ANY_THROW(zoo.models(0, {"base", "expert/rows"}));
  fs::rename(away, model("experts/rows"));
  EXPECT_EQ(zoo.models(0, {"expert/rows"})[0]->digest, zoo.zoo().replicate(0).digests.at("expert/rows"));
}

}  // namespace
}  // namespace fusegrid
