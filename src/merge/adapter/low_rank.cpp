#include "merge/adapter/low_rank.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/matmul.h>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::adapters {
namespace {

int64_t kept_triplets(const at::Tensor& s, double norm, const RankRule& rule) {
  int64_t kept = s.numel();
  if (rule.energy) {
    const at::Tensor sums = s.square().cumsum(0).contiguous();
    const double wanted = *rule.energy * norm * norm;
    const double* const begin = sums.const_data_ptr<double>();
    const auto enough = std::lower_bound(begin, begin + kept, wanted);
    kept = std::min(kept, static_cast<int64_t>(enough - begin) + 1);
  }
  return std::min(kept, rule.rank.value_or(kept));
}

LowRankUpdate balanced(const Svd& svd, const at::Tensor& update, double norm, const RankRule& rule) {
  LowRankUpdate result;
  result.norm = norm;
  const Svd kept = svd.first(kept_triplets(svd.s.to(at::kCPU), result.norm, rule));
  const at::Tensor root = kept.s.sqrt();
  const at::Tensor b = (kept.u * root).to(at::kFloat);
  const at::Tensor a = (kept.v * root).t().to(at::kFloat);
  result.error_norm = (update - at::matmul(b.to(at::kDouble), a.to(at::kDouble))).norm().item<double>();
  result.factors = {b.contiguous().to(at::kCPU), a.contiguous().to(at::kCPU), 1};
  return result;
}

}  // namespace

void check_rule(const RankRule& rule, int64_t largest, const std::string& name) {
  if (rule.rank && *rule.rank < 1) {
    throw ConfigError("the rank of an adapter must be at least 1, but it is " + number_text(*rule.rank));
  }
  if (rule.energy && !(*rule.energy > 0 && *rule.energy <= 1)) {
    throw ConfigError("the energy that an adapter keeps must lie in (0, 1], but it is " +
                      number_text(*rule.energy));
  }
  if (rule.rank && *rule.rank > largest) {
    throw ConfigError(
        "the rank of an adapter must not be above the smaller side of its matrices, but it is " +
        number_text(*rule.rank) + " and the largest of them is " + number_text(largest) + " ('" + name +
        "'); give a rank of at most that");
  }
}

double finite_norm(const at::Tensor& update, const std::string& what) {
  const double norm = update.norm().item<double>();
  if (!std::isfinite(norm)) {
    throw DataError("an adapter must have finite numbers, but " + what +
                    " has NaN or infinity; is one of the models damaged, or did its training diverge?");
  }
  return norm;
}

LowRankUpdate cut_to_rank(const at::Tensor& update, const RankRule& rule, const std::string& what) {
  const at::Tensor exact = update.to(at::kDouble);
  const double norm = finite_norm(exact, what);
  const int64_t leading = rule.energy ? -1 : rule.rank.value_or(-1);
  return balanced(significant_svd(exact, leading), exact, norm, rule);
}

LowRankUpdate cut_to_rank(const LowRankFactors& update, const RankRule& rule, const std::string& what) {
  const at::Tensor b = update.b.to(at::kDouble) * update.scale;
  const at::Tensor a = update.a.to(at::kDouble);
  const int64_t rank = a.size(0);
  if (rank >= std::min(b.size(0), a.size(1))) {
    return cut_to_rank(at::matmul(b, a), rule, what);
  }
  const at::Tensor product = at::matmul(b, a);
  const double norm = finite_norm(product, what);
  // b a = Q_b (R_b R_a^T) Q_a^T, and the SVD is that of the small matrix between
  const auto [left, left_part] = at::linalg_qr(b);
  const auto [right, right_part] = at::linalg_qr(a.t());
  Svd svd = significant_svd(at::matmul(left_part, right_part.t()));
  svd.u = at::matmul(left, svd.u);
  svd.v = at::matmul(right, svd.v);
  return balanced(svd, product, norm, rule);
}

void set_alpha(FactorsByName& factors, std::optional<double> alpha) {
  int64_t largest = 1;
  for (const auto& [name, pair] : factors) {
    largest = std::max(largest, pair.a.size(0));
  }
  for (auto& [name, pair] : factors) {
    pair.scale = alpha.value_or(static_cast<double>(largest)) / static_cast<double>(pair.a.size(0));
    if (pair.scale != 1) {
      const double root = std::sqrt(std::abs(pair.scale));
      pair.b = pair.b / std::copysign(root, pair.scale);
      pair.a = pair.a / root;
    }
  }
}

LowRankFactors as_of_layer(const LowRankFactors& stored, bool turned) {
  return turned ? LowRankFactors{stored.a.t().contiguous(), stored.b.t().contiguous(), stored.scale} : stored;
}

}  // namespace fusegrid::adapters
