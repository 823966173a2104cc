#include "fusion/whole_model/routed_layers.h"

#include <algorithm>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>

#include "fusion/subspaces/svd.h"

namespace fusegrid {
namespace {

ExpertPart low_rank(const FusionInput& in, const Slice& slice, size_t expert, int64_t rank,
                    int64_t gate_rank) {
  const Svd svd = task_vector_svd(in, slice, expert);
  ExpertPart part;
  part.gate = svd.first(gate_rank).v.to(at::kFloat).contiguous();
  if (rank == 0) {
    part.left = slice.task_vector(expert);
  } else {
    const Svd kept = svd.first(rank);
    part.left = (kept.u * kept.s).to(at::kFloat);
    part.right = kept.v.to(at::kFloat).contiguous();
  }
  return part;
}

bool changed_by_any(const Slice& slice) {
  const auto experts = slice.experts();
  return std::any_of(experts.begin(), experts.end(),
                     [&](const at::Tensor& expert) { return !expert.equal(slice.base()); });
}

}  // namespace

LayersWithExperts layers_with_experts(const FusionInput& in, int64_t rank, int64_t gate_rank,
                                      bool average_others) {
  std::set<std::string> linear;
  for (const Layer& layer : in.network().architecture->layers()) {
    linear.insert(layer.name);
  }
  LayersWithExperts parts;
  parts.base = in.map_matrices([&](const Slice& slice) -> at::Tensor {
    const std::string name = slice.name().substr(0, slice.name().rfind('.'));
    if (!linear.contains(name)) {
      return average_others ? mean_of(slice.expert_views()) : slice.base().clone();
    }
    if (slice.name().ends_with(".weight") && changed_by_any(slice)) {
      for (size_t i = 0; i < slice.num_experts(); ++i) {
        parts.layers[name].push_back(low_rank(in, slice, i, rank, gate_rank));
      }
    }
    return slice.base().clone();
  });
  for (auto& [name, experts] : parts.layers) {
    const auto bias = in.base().find(name + ".bias");
    for (size_t i = 0; bias != in.base().end() && i < experts.size(); ++i) {
      experts[i].bias = in.expert(i).at(name + ".bias") - bias->second;
    }
  }
  return parts;
}

at::Tensor expert_shares(const ExpertParts& experts, const at::Tensor& x) {
  std::vector<at::Tensor> answers;
  for (const ExpertPart& expert : experts) {
    answers.push_back(at::matmul(x, expert.gate).norm(2, {-1}));
  }
  return at::softmax(at::stack(answers, -1), -1);
}

at::Tensor expert_sum(const ExpertParts& experts, const at::Tensor& shares, const at::Tensor& x) {
  at::Tensor sum;
  for (size_t i = 0; i < experts.size(); ++i) {
    const ExpertPart& expert = experts[i];
    const at::Tensor inner = expert.right.defined() ? at::matmul(x, expert.right) : x;
    const at::Tensor weighted = at::linear(inner, expert.left, expert.bias) *
                                shares.select(-1, static_cast<int64_t>(i)).unsqueeze(-1);
    sum = i == 0 ? weighted : sum + weighted;
  }
  return sum;
}

}  // namespace fusegrid
