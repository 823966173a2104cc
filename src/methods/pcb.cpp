// PCB: weigh every entry of every task vector by how large it is in its own task and how well it agrees
// with the other tasks; drop the entries with low weights.
//
// Source:  Du et al., "Parameter Competition Balancing for Model Merging", NeurIPS 2024, arXiv:2410.02396,
//          by the authors' code. It has exp and tanh where the paper prints softmaxes, and cuts the 0.0001
//          largest and smallest magnitudes. Their scales per task are `weights`; their search for them (CMA-ES on
//          validation scores) is a grid's job.
// Differs: a model whose magnitudes (or scores) are all equal weighs nothing instead of 0/0. The scores are
//          rounded to float32 before they are ranked, so that any sharding ranks them alike.
// Cost:    three passes over N experts and two samples (GPUs: five); a sweep of scales shares the direction.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "core/model_weights.h"
#include "fusion/passes/direction.h"

namespace fusegrid::methods::pcb {
namespace {

constexpr double kOutliers = 0.0001;  // fraction at either end

struct Options {
  double density = 0.1;
  double scale = 1.2;
  std::vector<double> weights;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries of a task vector that keep a weight");
    v.param("scale", scale, Range{-2, 5}, "multiplier of the merged task vector");
    v.param("weights", weights, Range{-100, 100}, "scale of each task vector; empty: all 1");
  }
  void check(int64_t experts) const { model_weights("pcb", weights, false, experts); }
};

struct Bounds {
  double low = 0;
  double high = 0;
  // 0 at low, 1 at high
  at::Tensor normalised(const at::Tensor& values) const {
    return high > low ? (values.clamp(low, high) - low).div_(high - low) : at::zeros_like(values);
  }
};

// Entries number `low` and `high` (from 0) of each vector in ascending order.
std::vector<Bounds> bounds(const FusionInput& in, const std::string& key, double low, double high,
                           const SliceVectors& vectors) {
  const int64_t last = in.num_elements() - 1;
  const auto rank = [&](double index) {
    return std::clamp(static_cast<int64_t>(index), int64_t{0}, last) + 1;
  };
  const auto numbers = in.scalars(key, [&] {
    std::vector<double> flat;
    for (const auto& found :
         in.kth_smallest(Order::kValues, in.num_experts(), {rank(low), rank(high)}, vectors)) {
      flat.insert(flat.end(), found.begin(), found.end());
    }
    return flat;
  });
  std::vector<Bounds> all;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    all.push_back({numbers[2 * i], numbers[2 * i + 1]});
  }
  return all;
}

std::vector<SliceVector> magnitudes(const Slice& slice) {
  std::vector<at::Tensor> values = slice.task_vectors();
  for (at::Tensor& value : values) {
    value.abs_();
  }
  return views(values);
}

// How well each entry does in the competition, float32.
std::vector<at::Tensor> scores(const Slice& slice, const std::vector<Bounds>& clipping) {
  std::vector<at::Tensor> taus;
  for (const at::Tensor& tau : slice.task_vectors()) {
    taus.push_back(tau.to(at::kDouble));
  }
  const auto count = static_cast<double>(taus.size());
  const at::Tensor sum = sum_of(taus);
  std::vector<at::Tensor> values;
  for (size_t i = 0; i < taus.size(); ++i) {
    const at::Tensor own = (clipping[i].normalised(taus[i].abs()).square() * count).exp();
    values.push_back((own * (taus[i] * sum).tanh()).to(at::kFloat));
  }
  return values;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto elements = static_cast<double>(in.num_elements());
  const auto weights = model_weights("pcb", options.weights, false, static_cast<int64_t>(in.num_experts()));
  const auto clipping =
      bounds(in, "pcb/clipping", elements * kOutliers, elements * (1 - kOutliers) - 1, magnitudes);
  const auto competing = [clipping](const Slice& slice) { return scores(slice, clipping); };
  const auto winning = bounds(in, key, elements * (1 - options.density), elements - 1,
                              [&](const Slice& slice) { return views(competing(slice)); });
  return in.field(key, [=](const Slice& slice) {
    const auto values = competing(slice);
    at::Tensor sum = at::zeros_like(values[0], at::TensorOptions(at::kDouble));
    at::Tensor divisor = at::zeros_like(sum);
    for (size_t i = 0; i < values.size(); ++i) {
      const at::Tensor tau = slice.task_vector(i).to(at::kDouble);
      const at::Tensor weight = winning[i].normalised(values[i].to(at::kDouble));
      sum.add_(tau.sign() * tau.abs().clamp(clipping[i].low, clipping[i].high) * weight, weights[i]);
      divisor.add_(weight);
    }
    return sum.div_(divisor.clamp_min_(1e-12)).to(at::kFloat);
  });
}

const RegisterDirection<Options> registered{
    {.name = "pcb",
     .title = "PCB-Merging",
     .paper = "Du et al., NeurIPS 2024, arXiv:2410.02396",
     .formula =
         R"(a_i = |tau_i| clipped to its 0.01 % and 99.99 % quantiles,   n(x) = (x - min x) / (max x - min x)
s_i = exp(N n(a_i)^2) tanh(tau_i sum_j tau_j)
b_i = n(s_i clipped from below to its 1 - density quantile)
theta = theta_0 + scale * sum_i w_i b_i sign(tau_i) a_i / sum_i b_i)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::pcb
