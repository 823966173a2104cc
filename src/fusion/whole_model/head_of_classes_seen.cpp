#include "fusion/whole_model/head_of_classes_seen.h"

#include <algorithm>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

// The labels that each expert has seen in some task that it was made for; nothing where it has seen all of one.
std::vector<std::vector<int64_t>> labels_of_experts(const FusionInput& in) {
  std::vector<std::vector<int64_t>> all;
  const auto seen = in.classes_seen();
  for (size_t i = 0; i < in.num_experts(); ++i) {
    std::set<int64_t> labels;
    for (const std::string& task : in.tasks_of(i)) {
      const auto some = seen[i].find(task);
      if (some == seen[i].end()) {
        labels.clear();
        break;
      }
      labels.insert(some->second.begin(), some->second.end());
    }
    all.emplace_back(labels.begin(), labels.end());
  }
  return all;
}

// rows: of each model, [classes, ...].
at::Tensor mean_of_rows(const std::vector<at::Tensor>& rows, const at::Tensor& shares) {
  at::Tensor sum;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<int64_t> shape(static_cast<size_t>(rows[i].dim()), 1);
    shape[0] = rows[i].size(0);
    const at::Tensor part =
        rows[i].to(at::kDouble) * shares[static_cast<int64_t>(i)].view(shape).to(rows[i].device());
    sum = sum.defined() ? sum + part : part;
  }
  return sum.to(rows.front().scalar_type());
}

}  // namespace

at::Tensor shares_of_classes(const std::vector<std::vector<int64_t>>& seen, int64_t classes,
                             const std::vector<double>& weights) {
  at::Tensor shares = at::zeros({static_cast<int64_t>(seen.size()), classes}, at::kDouble);
  auto* share = shares.mutable_data_ptr<double>();
  for (int64_t c = 0; c < classes; ++c) {
    std::vector<double> of_class(seen.size(), 0);
    double sum = 0;
    int64_t members = 0;
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i].empty() || std::binary_search(seen[i].begin(), seen[i].end(), c)) {
        of_class[i] = weights.empty() ? 1 : weights[i];
        sum += of_class[i];
        ++members;
      }
    }
    if (members == 0) {
      throw ConfigError("a class is answered by the experts that have seen it, but none has seen class " +
                        std::to_string(c) + "; merge an expert that has");
    }
    if (!(sum > 0)) {  // at an end of a line
      return shares_of_classes(seen, classes);
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      share[static_cast<int64_t>(i) * classes + c] = of_class[i] / sum;
    }
  }
  return shares;
}

Weights head_of_classes_seen(const FusionInput& in, const std::vector<std::pair<double, Weights>>& mean_of) {
  const auto head = in.network().architecture->own_head();
  FUSEGRID_ASSERT(head && !head->of_tokens(), "models without a head of classes");
  const auto seen = labels_of_experts(in);
  std::vector<double> weights;
  for (const auto& [weight, model] : mean_of) {
    weights.push_back(weight);
  }
  const auto mean = [&](const std::vector<at::Tensor>& rows) {
    return mean_of_rows(rows, shares_of_classes(seen, rows.front().size(0), weights));
  };
  Weights of_head;
  const auto all = in.map_tensors([&](const Slice& slice) {
    const std::string& name = slice.info->name;
    if (name != head->weight && name != head->bias) {
      return slice.expert(0);
    }
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < in.num_experts(); ++i) {
      rows.push_back(mean_of.empty() ? slice.expert(i) : mean_of[i].second.at(name));
    }
    of_head[name] = mean(rows);
    return of_head.at(name);
  });
  return of_head;
}

}  // namespace fusegrid
