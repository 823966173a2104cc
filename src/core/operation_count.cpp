#include "core/operation_count.h"

#include <algorithm>
#include <atomic>
#include <string_view>
#include <unordered_map>

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

namespace fusegrid {
namespace {

std::atomic<int64_t> counted{0};

using Arguments = c10::ArrayRef<const c10::IValue>;
using Counter = int64_t (*)(Arguments);

// ---- what each operation asks for; sizes are those of its arguments

at::IntArrayRef sizes(Arguments arguments, size_t index) {
  return arguments[index].toTensor().sizes();
}

int64_t count(Arguments arguments, size_t index) {
  return arguments[index].toTensor().numel();
}

// From the end: 0 is the last.
int64_t side(Arguments arguments, size_t index, size_t from_end) {
  const at::IntArrayRef all = sizes(arguments, index);
  return all[all.size() - 1 - from_end];
}

// [.., m, k] times [.., k, n], which are arguments `left` and the next.
template <size_t left>
int64_t product(Arguments arguments) {
  return 2 * count(arguments, left) * side(arguments, left + 1, 0);
}

template <size_t matrix>
int64_t product_with_vector(Arguments arguments) {
  return 2 * count(arguments, matrix);
}

// convolution(input, weight, bias, stride, padding, dilation, ...), not transposed
int64_t convolution(Arguments arguments) {
  const at::IntArrayRef input = sizes(arguments, 0), weight = sizes(arguments, 1);
  const auto stride = arguments[3].toIntVector(), padding = arguments[4].toIntVector(),
             dilation = arguments[5].toIntVector();
  int64_t places = input[0];
  for (size_t i = 0; i + 2 < input.size(); ++i) {
    const auto of = [i](const std::vector<int64_t>& all) { return all[std::min(i, all.size() - 1)]; };
    places *= (input[i + 2] + 2 * of(padding) - of(dilation) * (weight[i + 2] - 1) - 1) / of(stride) + 1;
  }
  return 2 * places * count(arguments, 1);
}

// convolution_backward(grad_output, input, weight, ..., output_mask)
int64_t convolution_backward(Arguments arguments) {
  const auto mask = arguments[arguments.size() - 1].toBoolList();
  const int64_t gradients = (mask.get(0) ? 1 : 0) + (mask.get(1) ? 1 : 0);
  return gradients * 2 * (count(arguments, 0) / sizes(arguments, 0)[1]) * count(arguments, 2);
}

// Queries [.., q, d] with keys [.., k, d] and values, which are arguments `queries` and the next two.
template <size_t queries, int64_t products>
int64_t attention(Arguments arguments) {
  return products * 2 * count(arguments, queries) * side(arguments, queries + 1, 1);
}

// Of square matrices [.., n, n]: numerator / denominator of n^3 each.
template <int64_t numerator, int64_t denominator>
int64_t cubes(Arguments arguments) {
  const int64_t n = side(arguments, 0, 0);
  return n == 0 ? 0 : count(arguments, 0) / (n * n) * (numerator * n * n * n / denominator);
}

int64_t eigen(Arguments arguments) {
  const bool vectors = arguments.size() < 3 || !arguments[2].isBool() || arguments[2].toBool();
  return vectors ? cubes<9, 1>(arguments) : cubes<4, 3>(arguments);
}

template <typename Formula>
int64_t rectangular(Arguments arguments, const Formula& formula) {
  const int64_t m = std::max(side(arguments, 0, 0), side(arguments, 0, 1)),
                n = std::min(side(arguments, 0, 0), side(arguments, 0, 1));
  return n == 0 ? 0 : count(arguments, 0) / (m * n) * formula(m, n);
}

int64_t singular_values(Arguments arguments) {
  return rectangular(arguments, [](int64_t m, int64_t n) { return 14 * m * n * n + 8 * n * n * n; });
}

int64_t orthogonal(Arguments arguments) {
  return rectangular(arguments, [](int64_t m, int64_t n) { return 4 * n * n * m - 4 * n * n * n / 3; });
}

// Systems of `columns` right sides with `triangles` triangular matrices [.., n, n].
template <size_t matrix, size_t right, int64_t triangles>
int64_t triangular(Arguments arguments) {
  return triangles * count(arguments, right) * side(arguments, matrix, 0);
}

// Those that do the work: `linear`, `matmul`, `linalg_solve`, `linalg_inv` and the like ask for one of these. Attention
// that has no kernel of its own asks for bmm.
const std::unordered_map<std::string_view, Counter>& counters() {
  static const std::unordered_map<std::string_view, Counter> all{
      {"aten::mm", product<0>},
      {"aten::bmm", product<0>},
      {"aten::addmm", product<1>},
      {"aten::_addmm_activation", product<1>},
      {"aten::baddbmm", product<1>},
      {"aten::mv", product_with_vector<0>},
      {"aten::addmv", product_with_vector<1>},
      {"aten::dot", product_with_vector<0>},
      {"aten::convolution", convolution},
      {"aten::convolution_backward", convolution_backward},
      {"aten::_scaled_dot_product_flash_attention_for_cpu", attention<0, 2>},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward", attention<1, 5>},
      {"aten::_scaled_dot_product_flash_attention", attention<0, 2>},
      {"aten::_scaled_dot_product_flash_attention_backward", attention<1, 5>},
      {"aten::_scaled_dot_product_efficient_attention", attention<0, 2>},
      {"aten::_scaled_dot_product_efficient_attention_backward", attention<1, 5>},
      {"aten::_scaled_dot_product_cudnn_attention", attention<0, 2>},
      {"aten::_scaled_dot_product_cudnn_attention_backward", attention<1, 5>},
      {"aten::linalg_cholesky_ex", cubes<1, 3>},
      {"aten::linalg_lu_factor_ex", cubes<2, 3>},
      {"aten::linalg_lu_solve", triangular<0, 2, 2>},
      {"aten::cholesky_solve", triangular<1, 0, 2>},
      {"aten::linalg_solve_triangular", triangular<0, 1, 1>},
      {"aten::_linalg_eigh", eigen},
      {"aten::_linalg_svd", singular_values},
      {"aten::linalg_qr", orthogonal},
  };
  return all;
}

std::unique_ptr<at::ObserverContext> count_call(const at::RecordFunction& call) {
  const auto found = counters().find(call.name());
  if (found != counters().end()) {
    count_operations(found->second(call.inputs()));
  }
  return nullptr;
}

}  // namespace

OperationCount::OperationCount()
    : callback_(at::addGlobalCallback(
          at::RecordFunctionCallback(count_call).needsInputs(true).scopes({at::RecordScope::FUNCTION}))),
      before_(counted) {}

OperationCount::~OperationCount() {
  at::removeCallback(callback_);
}

int64_t OperationCount::operations() const {
  return counted - before_;
}

void count_operations(int64_t operations) {
  counted.fetch_add(operations, std::memory_order_relaxed);
}

}  // namespace fusegrid
