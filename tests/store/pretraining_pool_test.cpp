#include "store/pretraining_pool.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"
#include "support/stored_file.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

StoredGroup source_of(const std::string& kind, double share, int64_t examples) {
  StoredGroup source;
  source.attributes = {{"kind", kind}, {"share", share}, {"examples", examples}};
  return source;
}

StoredGroup image_source(const std::string& kind, double share) {
  StoredGroup source = source_of(kind, share, 2);
  source.attributes["classes"] = int64_t{2};
  source.arrays["images"] = stored_images({2, kind == "mask" ? 1 : 3, 2, 3});
  source.arrays["labels"] = stored<uint16_t>({0, 1});
  return source;
}

StoredGroup pair_source(double share) {
  StoredGroup source = source_of("pairs", share, 2);
  source.add_rows("tokens", {{2, 3}, {4}});
  source.add_rows("partners", {{3}, {4, 4, 4}});
  return source;
}

// All kinds of sources.
StoredGroup whole_pool() {
  StoredGroup corpus = source_of("text", 1, 3);
  corpus.add_rows("tokens", {{2, 3}, {4}, {3, 2}});
  StoredGroup pool = stored_pool({{"corpus", corpus},
                                  {"lower", image_source("mask", 0.75)},
                                  {"maps", image_source("rgb", 0.2)},
                                  {"same", pair_source(1)}});
  pool.groups["tokens"] = stored_tokens();
  return pool;
}

class PoolFile : public testing::Test {
 protected:
  PretrainingPool open(const StoredGroup& pool) {
    pool.write(path_);
    return PretrainingPool(path_);
  }
  std::string error(const std::function<void(StoredGroup& pool)>& change) {
    StoredGroup pool = whole_pool();
    change(pool);
    pool.write(path_);
    return error_of<DataError>([&] {
      const PretrainingPool opened(path_);
      for (const PoolSourceInfo& source : opened.sources()) {
        opened.read(source.name, 0, source.examples);
      }
    });
  }
  std::string source_error(const std::string& name, const std::function<void(StoredGroup& source)>& change) {
    return error([&](StoredGroup& pool) { change(pool.groups["sources"].groups[name]); });
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "pool.h5";
};

TEST_F(PoolFile, TellsWhatItsSourcesAre) {
  const PretrainingPool pool = open(whole_pool());
  ASSERT_EQ(pool.sources().size(), 4U);
  const PoolSourceInfo& corpus = pool.sources()[0];
  EXPECT_EQ(corpus.name, "corpus");
  EXPECT_EQ(corpus.kind, "text");
  EXPECT_EQ(corpus.examples, 3);
  EXPECT_EQ(corpus.share, 1);
  EXPECT_EQ(corpus.longest_row, 2);
  EXPECT_EQ(pool.sources()[1].classes, 2);
  EXPECT_EQ(pool.sources()[1].longest_row, 0);
  EXPECT_EQ(pool.sources()[3].longest_row, 3);  // of a partner
  EXPECT_EQ(pool.tokens()->size(), 5);
}

TEST_F(PoolFile, ReadsRangesOfTextsAndPairs) {
  const PretrainingPool pool = open(whole_pool());
  const PoolRows text = pool.read("corpus", 1, 2);
  ASSERT_EQ(text.tokens.size(), 2);
  EXPECT_THAT(text.tokens.row(1), ElementsAre(3, 2));
  EXPECT_FALSE(text.partners.defined() || text.images.defined());
  const PoolRows pairs = pool.read("same", 1, 1);
  EXPECT_THAT(pairs.tokens.row(0), ElementsAre(4));
  EXPECT_THAT(pairs.partners.row(0), ElementsAre(4, 4, 4));
}

TEST_F(PoolFile, ReadsImagesByRangeAndWhole) {
  const PretrainingPool pool = open(whole_pool());
  const PoolRows rows = pool.read("lower", 1, 1);
  EXPECT_EQ(rows.images.sizes(), (std::vector<int64_t>{1, 1, 2, 3}));
  EXPECT_EQ(rows.images.const_data_ptr<uint8_t>()[0], 6);
  EXPECT_EQ(rows.labels.const_data_ptr<int64_t>()[0], 1);

  const auto sources = pool.read_images();
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources[0].name, "lower");
  EXPECT_TRUE(sources[0].mask);
  EXPECT_EQ(sources[0].share, 0.75);
  EXPECT_EQ(sources[0].classes, 2);
  EXPECT_FALSE(sources[1].mask);
  EXPECT_EQ(sources[1].images.sizes(), (std::vector<int64_t>{2, 3, 2, 3}));
  EXPECT_EQ(sources[1].images.const_data_ptr<uint8_t>()[35], 35);
  EXPECT_EQ(sources[1].labels.const_data_ptr<int64_t>()[1], 1);
}

TEST_F(PoolFile, ImagesOfAPoolOfTextsAreRefused) {
  StoredGroup pool = stored_pool({{"same", pair_source(1)}});
  pool.groups["tokens"] = stored_tokens();
  const PretrainingPool texts = open(pool);
  EXPECT_THAT(error_of<ConfigError>([&] { texts.read_images(); }),
              AllOf(HasSubstr("has only texts"), HasSubstr("make_pretraining_pool.py")));
}

TEST_F(PoolFile, RefusesWhatIsNoPoolOfThisVersion) {
  const auto message = [&](int64_t version) {
    return error([&](StoredGroup& pool) { pool.attributes["version"] = version; });
  };
  EXPECT_THAT(message(1),
              AllOf(HasSubstr("has version 1"),
                    HasSubstr("make it anew with tools/data_python and tools/make_pretraining_pool.py")));
  EXPECT_THAT(message(3), HasSubstr("use the program that it was made for"));
  EXPECT_THAT(error([](StoredGroup& pool) { pool.attributes["format"] = "fusegrid-task-pack"; }),
              HasSubstr("'fusegrid-pretraining-pool', but it is 'fusegrid-task-pack'"));
  EXPECT_THAT(error([](StoredGroup& pool) { pool.groups["sources"].groups.clear(); }),
              HasSubstr("at least one source"));
}

TEST_F(PoolFile, RefusesSourcesThatAreNotOfTheirKind) {
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["kind"] = "audio"; }),
              HasSubstr("kind must be one of mask, pairs, rgb, text, but it is 'audio'"));
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["kind"] = "rgb"; }),
              HasSubstr("images of the kind rgb must have 3 channels, but these have 1"));
  EXPECT_THAT(
      source_error("corpus", [](StoredGroup& source) { source.attributes["kind"] = "pairs"; }),
      HasSubstr(
          "kind pairs has the arrays partners, partners_offsets, tokens, tokens_offsets and no other, but "
          "here are tokens, tokens_offsets"));
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["classes"] = int64_t{1}; }),
              HasSubstr("2 to 65535 classes, but it says 1"));
  EXPECT_THAT(source_error("lower",
                           [](StoredGroup& source) {
                             source.arrays["labels"] = stored<uint16_t>({0, 2});
                           }),
              HasSubstr("less than the number of classes, 2, but one is 2"));
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["examples"] = int64_t{3}; }),
              HasSubstr("labels: there must be one entry for each of the 3 examples"));
  EXPECT_THAT(source_error("same", [](StoredGroup& source) { source.add_rows("partners", {{3}}); }),
              HasSubstr("partners_offsets: there must be one offset more than the 2 examples"));
  EXPECT_THAT(source_error("same",
                           [](StoredGroup& source) {
                             source.add_rows("partners", {{3}, {0}});
                           }),
              HasSubstr("partners: the id of padding, 0, must not be stored"));
  EXPECT_THAT(error([](StoredGroup& pool) { pool.groups.erase("tokens"); }),
              HasSubstr("the pool must have a group 'tokens'"));
}

TEST_F(PoolFile, RefusesSharesThatDoNotAddUp) {
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["share"] = 1.5; }),
              HasSubstr("share must be in (0, 1], but it is 1.5"));
  EXPECT_THAT(source_error("lower", [](StoredGroup& source) { source.attributes["share"] = 0.9; }),
              HasSubstr("the shares of images must add up to at most 1, but they add up to 1.1"));
  EXPECT_THAT(source_error("corpus", [](StoredGroup& source) { source.attributes["share"] = 0.5; }),
              HasSubstr("the shares of text must add up to 1, but they add up to 0.5"));
}

}  // namespace
}  // namespace fusegrid::test
