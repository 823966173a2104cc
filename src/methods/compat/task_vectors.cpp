// mergekit's generalised task arithmetic: task vectors are made sparse, weighted, merged (with or without an election
// of signs), and added to the base. Every operation rounds.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/full_like.h>

#include "core/philox.h"
#include "fusion/compat/compat.h"
#include "fusion/loops/random_numbers.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/selection.h"

namespace fusegrid::compat::task_vectors {
namespace {

const std::string kRounds = "task vectors, weights, sums and every other operation round";

// How a method makes one task vector (in T, of a whole tensor) sparse.
using Sparsify = std::function<at::Tensor(const Slice& slice, size_t expert, const at::Tensor& tau)>;

FusedModel merge_sparse(const FusionInput& in, const CompatOptions& options, const CompatMerge& how,
                        const Sparsify& sparsify) {
  const Field mixed = in.tensor_field(options.key() + "/" + seed_key(in), [&](const Slice& slice) {
    std::vector<at::Tensor> vectors = stored_task_vectors(slice);
    for (size_t i = 0; i < vectors.size(); ++i) {
      vectors[i] = sparsify(slice, i, vectors[i]);
    }
    return mixed_delta(slice, std::move(vectors), how);
  });
  const double scale = options.number("scale");
  return one_model(in.map_tensors([&](const Slice& slice) { return moved(slice, slice[mixed], scale); }));
}

// On CPUs the original draws and rescales in float32 where T is float16.
at::ScalarType working_dtype(at::ScalarType stored) {
  return stored == at::kHalf ? at::kFloat : stored;
}

at::Tensor with_mask(const at::Tensor& tau, const at::Tensor& mask, bool keep_l1) {
  return masked(tau.to(working_dtype(tau.scalar_type())), mask, keep_l1).to(tau.scalar_type());
}

// -- task arithmetic

FusedModel task_arithmetic(const FusionInput& in, const CompatOptions& options) {
  const CompatMerge how{.weights = options.weights(in.num_experts()),
                        .normalize = options.word("merge") == "mean"};
  const Field mixed = in.field(
      options.key(), [&](const Slice& slice) { return mixed_delta(slice, stored_task_vectors(slice), how); });
  const double scale = options.number("scale");
  return one_model(in.map_elements([&](const Slice& slice) { return moved(slice, slice[mixed], scale); }));
}

const RegisterCompat task_arithmetic_{"task_arithmetic",
                                      {.original = "task_arithmetic",
                                       .rounding = kRounds,
                                       .check = [](const CompatOptions&) {},
                                       .fuse = task_arithmetic}};

// -- ties

FusedModel ties(const FusionInput& in, const CompatOptions& options) {
  const auto densities = options.numbers("density", in.num_experts());
  const CompatMerge how{.weights = options.weights(in.num_experts()),
                        .elect = true,
                        .normalize = options.word("merge") == "mean"};
  return merge_sparse(in, options, how, [&](const Slice& slice, size_t i, const at::Tensor& tau) {
    const auto count = static_cast<int64_t>(densities[i] * static_cast<double>(slice.count));
    if (densities[i] >= 1) {
      return tau;
    }
    const at::Tensor mask = largest_mask(tau.abs().to(at::kFloat), std::max(count, int64_t{1}));
    return masked(tau, mask.to(tau.scalar_type()), options.word("rescale") == "l1");
  });
}

const RegisterCompat ties_{"ties",
                           {.original = "ties",
                            .rounding = kRounds,
                            .check =
                                [](const CompatOptions& options) {
                                  options.require("dialect", {"mergekit"});
                                  options.require("merge", {"sum", "mean"});
                                },
                            .fuse = ties}};

// -- DARE

FusedModel dare_with(const FusionInput& in, const CompatOptions& options, const CompatMerge& how) {
  const auto rates = options.numbers("drop_rate", in.num_experts());
  const bool keep_l1 = options.word("rescale") == "l1";
  return merge_sparse(in, options, how, [&](const Slice& slice, size_t i, const at::Tensor& tau) {
    return rates[i] <= 0 ? tau : with_mask(tau, kept_at_random(in, slice, i, rates[i]), keep_l1);
  });
}

const RegisterCompat dare{"dare",
                          {.original = "dare_linear",
                           .rounding = kRounds + "; float16: masked and rescaled in float32",
                           .check =
                               [](const CompatOptions& options) {
                                 options.require("rescale", {"l1", "none"});
                               },
                           .fuse =
                               [](const FusionInput& in, const CompatOptions& options) {
                                 return dare_with(in, options,
                                                  {.weights = options.weights(in.num_experts()),
                                                   .normalize = options.word("merge") == "mean"});
                               }}};

const RegisterCompat dare_ties{"dare_ties",
                               {.original = "dare_ties",
                                .rounding = kRounds + "; float16: masked and rescaled in float32",
                                .check =
                                    [](const CompatOptions& options) {
                                      options.require("rescale", {"l1", "none"});
                                      options.require("density", {"1"});
                                      options.require("merge", {"sum", "mean"});
                                    },
                                .fuse =
                                    [](const FusionInput& in, const CompatOptions& options) {
                                      return dare_with(in, options,
                                                       {.weights = options.weights(in.num_experts()),
                                                        .elect = true,
                                                        .normalize = options.word("merge") == "mean"});
                                    }}};

// -- breadcrumbs

FusedModel breadcrumbs(const FusionInput& in, const CompatOptions& options) {
  const auto densities = options.numbers("density", in.num_experts());
  const auto gammas = options.numbers("gamma", in.num_experts());
  const bool keep_l1 = options.word("rescale") == "l1";
  const CompatMerge how{.weights = options.weights(in.num_experts()),
                        .elect = options.flag("elect"),
                        .normalize = options.word("merge") == "mean"};
  return merge_sparse(in, options, how, [&](const Slice& slice, size_t i, const at::Tensor& tau) {
    if (densities[i] >= 1) {
      return tau;
    }
    const auto size = static_cast<double>(slice.count);
    const auto kept = static_cast<int64_t>(densities[i] * size);
    const int64_t largest = std::min(static_cast<int64_t>(gammas[i] * size), slice.count - kept);
    const at::Tensor magnitudes = tau.abs().to(at::kFloat);
    const at::Tensor mask =
        largest_mask(magnitudes, largest + kept).logical_and(largest_mask(magnitudes, largest).logical_not());
    return masked(tau, mask.to(tau.scalar_type()), keep_l1);
  });
}

const RegisterCompat breadcrumbs_{"breadcrumbs",
                                  {.original = "breadcrumbs, breadcrumbs_ties",
                                   .rounding = kRounds,
                                   .check = [](const CompatOptions&) {},
                                   .fuse = breadcrumbs}};

// -- DELLA

// Probability of each entry to be kept, by its rank along the second dimension (a vector is one row).
at::Tensor keep_probability(const at::Tensor& rows, double density, double epsilon) {
  const auto dtype = working_dtype(rows.scalar_type());
  if (rows.size(1) == 1) {
    return at::full_like(rows, density, dtype);  // 0 / 0 in the original, which ends there
  }
  const at::Tensor order = at::argsort(rows.abs(), /*stable=*/true, /*dim=*/1);
  const at::Tensor rank = at::argsort(order, /*stable=*/true, /*dim=*/1).to(dtype) + 1;
  const at::Tensor lowest = rank.amin({1}, true);
  const at::Tensor share = ((rank - lowest) / (rank.amax({1}, true) - lowest)).clamp(0, 1);
  return share * 2 * epsilon + (density - epsilon);
}

FusedModel della(const FusionInput& in, const CompatOptions& options) {
  const auto densities = options.numbers("density", in.num_experts());
  const auto epsilons = options.numbers("epsilon", in.num_experts());
  const bool keep_l1 = options.word("rescale") == "l1";
  const CompatMerge how{.weights = options.weights(in.num_experts()),
                        .elect = options.flag("elect"),
                        .normalize = options.word("merge") == "mean"};
  return merge_sparse(in, options, how, [&](const Slice& slice, size_t i, const at::Tensor& tau) {
    if (densities[i] >= 1) {
      return tau;
    }
    const at::Tensor rows = tau.dim() < 2 ? tau.reshape({1, slice.count}) : tau;
    const uint64_t key = derive_key(in.seed(), "della/" + in.expert_names()[i]);
    const at::Tensor random =
        uniform_on(tau.device(), key, 0, slice.global_begin, slice.count).view(rows.sizes());
    const at::Tensor probability = keep_probability(rows, densities[i], epsilons[i]);
    const at::Tensor mask = (random < probability.to(at::kFloat)).to(probability.scalar_type());
    return with_mask(rows, mask, keep_l1).view(tau.sizes());
  });
}

const RegisterCompat della_{"della",
                            {.original = "della, della_linear",
                             .rounding = kRounds + ", probabilities too; float16: these in float32",
                             .check =
                                 [](const CompatOptions& options) {
                                   options.require("rescale", {"l1", "none"});
                                 },
                             .fuse = della}};

}  // namespace
}  // namespace fusegrid::compat::task_vectors
