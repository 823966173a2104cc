#include "zoo/token_batches.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "text_world.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

TEST(FilledUp, RowsAreAsWideAsTheLongest) {
  const std::vector<int32_t> ids{5, 6, 7, 8};
  const Inputs inputs = filled_up({{ids.data(), 1}, {ids.data() + 1, 3}}, 9);
  EXPECT_EQ(elements<int64_t>(inputs.tokens), (std::vector<int64_t>{5, 9, 9, 6, 7, 8}));
  EXPECT_EQ(inputs.tokens.sizes().vec(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(elements<int64_t>(inputs.lengths), (std::vector<int64_t>{1, 3}));
}

class TokenBatches : public testing::Test {
 protected:
  TokenBatches() {
    write_word_pack(folder_ / "pack.h5");
    word_pool().write(folder_ / "pool.h5");
  }
  TextPoolBatches batches(const TextPoolBatches::Options& options) const {
    return {PretrainingPool(folder_ / "pool.h5"), options};
  }

  TemporaryFolder folder_;
};

TEST_F(TokenBatches, OfATaskShowEachExampleOnceInAnEpoch) {
  const TaskPack pack(folder_ / "pack.h5");
  const Split train = pack.read("colours", "train");
  TokenTaskBatches batches("colours", train, *pack.tokens(), 20, 5, at::kCPU);
  std::multiset<std::string> seen, stored;
  const auto text = [&](std::span<const int32_t> row, int64_t label) {
    return pack.tokens()->text(row) + "/" + std::to_string(label);
  };
  for (int step = 0; step < 3; ++step) {
    const Examples batch = batches.next();
    EXPECT_EQ(batch.inputs.tokens.size(1), batch.inputs.lengths.max().item<int64_t>())
        << "no wider than needed";
    for (int64_t i = 0; i < batch.inputs.size(); ++i) {
      const at::Tensor row =
          batch.inputs.tokens[i].narrow(0, 0, batch.inputs.lengths[i].item<int64_t>()).to(at::kInt);
      seen.insert(text({row.const_data_ptr<int32_t>(), static_cast<size_t>(row.size(0))},
                       batch.labels[i].item<int64_t>()));
    }
  }
  for (int64_t i = 0; i < train.tokens.size(); ++i) {
    stored.insert(text(train.tokens.row(i), train.labels[i].item<int64_t>()));
  }
  EXPECT_EQ(seen, stored);
}

TEST_F(TokenBatches, OfAPoolHideOrdinaryTokensAndMaskMostOfThem) {
  const TextPoolBatches from_pool = batches({.texts = 4000, .pairs = 2, .hidden = 0.2, .seed = 1});
  const TextPoolBatches open = batches({.texts = 4000, .pairs = 2, .hidden = 0, .seed = 1});
  const PretrainingBatch batch = from_pool.at(3);
  const at::Tensor before = open.at(3).inputs.tokens.narrow(0, 0, 4000).flatten();
  const at::Tensor after = batch.inputs.tokens.narrow(0, 0, 4000).flatten();
  ASSERT_TRUE(open.at(3).inputs.lengths.equal(batch.inputs.lengths)) << "the same rows";
  EXPECT_EQ(open.at(3).hidden.size(0), 0);

  const at::Tensor truth = before.index_select(0, batch.hidden);
  const at::Tensor seen = after.index_select(0, batch.hidden);
  const auto hidden = static_cast<double>(batch.hidden.size(0));
  const double ordinary = (before >= 4).sum().item<double>();
  EXPECT_TRUE(truth.equal(batch.truth));
  EXPECT_TRUE((truth >= 4).all().item<bool>()) << "no special token is hidden";
  EXPECT_NEAR(hidden / ordinary, 0.2, 0.01);
  EXPECT_NEAR((seen == 3).sum().item<double>() / hidden, 0.8, 0.02);
  const double random_share = ((seen != 3) & (seen != truth)).sum().item<double>() / hidden;
  EXPECT_NEAR(random_share, 0.1 * (kWords - 1) / kWords, 0.015)
      << "one in twenty random words is the true one";
  EXPECT_TRUE(((seen >= 4) | (seen == 3)).all().item<bool>()) << "no special token but the mask is put in";
  EXPECT_EQ((before != after).sum().item<int64_t>(), (seen != truth).sum().item<int64_t>())
      << "nothing else is changed";
}

TEST_F(TokenBatches, OfAPoolDrawPairsByTheirShares) {
  const PretrainingBatch batch = batches({.texts = 1, .pairs = 3000, .hidden = 0.2, .seed = 1}).at(0);
  const at::Tensor partners = batch.inputs.tokens.narrow(0, 3001, 3000);
  EXPECT_NEAR((partners.select(1, 1) == 20).to(at::kDouble).mean().item<double>(), 0.25, 0.03);
}

TEST_F(TokenBatches, PairsWithEqualPartnersAreNoNegatives) {
  constexpr int64_t kPairs = 200;
  const PretrainingBatch batch = batches({.texts = 2, .pairs = kPairs, .hidden = 0.2, .seed = 1}).at(0);
  const at::Tensor partners = batch.inputs.tokens.narrow(0, 2 + kPairs, kPairs);
  int64_t equal_pairs = 0;
  for (int64_t i = 0; i < kPairs; ++i) {
    for (int64_t j = 0; j < kPairs; ++j) {
      const bool equal = i != j && partners[i].equal(partners[j]);
      equal_pairs += equal ? 1 : 0;
      ASSERT_EQ(batch.same[i][j].item<bool>(), equal) << i << ", " << j;
    }
  }
  EXPECT_GT(equal_pairs, kPairs);
}

TEST_F(TokenBatches, OfAPoolDependOnSeedAndStepAlone) {
  const TextPoolBatches::Options options{.texts = 8, .pairs = 6, .hidden = 0.2, .seed = 1};
  const PretrainingBatch batch = batches(options).at(4);
  EXPECT_TRUE(batches(options).at(4).inputs.tokens.equal(batch.inputs.tokens));
  EXPECT_FALSE(batches(options).at(5).inputs.lengths.equal(batch.inputs.lengths));
  TextPoolBatches::Options other = options;
  other.seed = 2;
  EXPECT_FALSE(batches(other).at(4).inputs.lengths.equal(batch.inputs.lengths));
}

TEST_F(TokenBatches, APoolWithoutTextsPairsOrMaskIsRefused) {
  const auto refusal = [&](const StoredGroup& pool) {
    pool.write(folder_ / "pool.h5");
    try {
      batches({});
      return std::string();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
  };
  StoredGroup pool = word_pool();
  pool.groups["sources"].groups.erase("corpus");
  EXPECT_THAT(refusal(pool), HasSubstr("none of the kind text"));
  pool = word_pool();
  pool.groups["sources"].groups.erase("meanings");
  pool.groups["sources"].groups.erase("twice");
  EXPECT_THAT(refusal(pool), HasSubstr("none of the kind pairs"));
  pool = word_pool();
  pool.groups["tokens"].attributes.erase("mask");
  EXPECT_THAT(refusal(pool), HasSubstr("must have a tokenizer with a mask"));
}

}  // namespace
}  // namespace fusegrid::test
