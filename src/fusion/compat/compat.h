// The arithmetic of `fusegrid merge --precision compat`: what mergekit 0.1.5 computes, bit by bit.
//
// The rule. mergekit calls PyTorch on tensors in the dtype T of the checkpoint, so every single operation rounds to T,
// and it matters which operations there are and in what order. A compat method therefore takes its tensors in T
// (stored() below; T is Slice::rounded_to, to which every model is rounded first, as mergekit's `dtype` does) and calls
// the operations of the original in their order. What the original does in float32 is done in float32. What the
// original leaves to an unstable sort is fixed here: of equal magnitudes at a threshold the first counts as the larger.
// Random masks are those of our counter-based numbers. Sums over models and reductions over a tensor (norms, dots,
// sums) are LibTorch's, with the bits that it gives for the whole tensor: equal bits need the same LibTorch on the same
// kind of processor.
//
// A method has this arithmetic where a file of src/methods/compat registers it, with the rule of the original and what
// of its parameters the original has. tests/merge/compat_test.cpp compares the bytes with those that mergekit wrote.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/params.h"
#include "core/registry.h"
#include "fusion/fusion_input.h"

namespace fusegrid {

// The parameters of a call, those that were not given at their defaults.
class CompatOptions {
 public:
  // Throws ConfigError: unknown parameters, values out of range.
  CompatOptions(const std::string& method, const ParamText& given);

  double number(const std::string& name) const;
  // Of a parameter that may differ by model: one number for each. Throws ConfigError where its length is neither 1 nor
  // `models`.
  std::vector<double> numbers(const std::string& name, size_t models) const;
  bool flag(const std::string& name) const { return all_.at(name) == "true"; }
  const std::string& word(const std::string& name) const { return all_.at(name); }
  // The list `weights`, all 1 where it is empty or the method has none. Throws ConfigError where its length is not
  // `models`.
  std::vector<double> weights(size_t models) const;
  // Everything but `scale`: the key of a Field.
  std::string key() const;
  // Throws ConfigError where the parameter has a value that the original has no rule for.
  void require(const std::string& name, const std::vector<std::string>& accepted) const;

 private:
  std::vector<double> list(const std::string& name) const;

  std::string method_;
  ParamText all_;
};

struct CompatMethod {
  std::string original;                             // the method's name in mergekit
  std::string rounding;                             // what rounds to T and what is in float32, for people
  std::function<void(const CompatOptions&)> check;  // throws ConfigError; see CompatOptions::require
  // Results that are rounded to T; of arcee_fusion float32, as the original's.
  std::function<FusedModel(const FusionInput&, const CompatOptions&)> fuse;
};

// By the name of our method.
Registry<CompatMethod>& compat_registry();

struct RegisterCompat {
  RegisterCompat(const std::string& method, CompatMethod entry) {
    compat_registry().add(method, std::move(entry));
  }
};

// Throws ConfigError where the method has no such arithmetic (naming those that have) or its parameters no rule.
void check_compat(const std::string& method, const ParamText& parameters);
FusedModel fuse_compat(const std::string& method, const FusionInput& in, const ParamText& parameters);

// -- pieces of mergekit that several of its methods share. T: the dtype of the tensors that are passed.

// A tensor of the slice in T; it may share the memory of `values`.
at::Tensor stored(const Slice& slice, const at::Tensor& values);
std::vector<at::Tensor> stored(const Slice& slice, const std::vector<at::Tensor>& values);
// expert - base, rounded to T.
std::vector<at::Tensor> stored_task_vectors(const Slice& slice);

// [models], in the dtype and on the device of `like`.
at::Tensor weight_tensor(const std::vector<double>& weights, const at::Tensor& like);
// The same beside tensors of the shape of `like`: [models, 1, ...].
at::Tensor weight_column(const std::vector<double>& weights, const at::Tensor& like);
// Of a block of values [models, ...]: their sum, added up as PyTorch does it on the whole tensor.
at::Tensor sum_over_models(const Slice& slice, const at::Tensor& values);
// Which values have the sign of the sum over models (zero counts as +; a zero never does), as bool [models, ...].
at::Tensor agreeing_signs(const Slice& slice, const at::Tensor& values);
// vector * mask; with `keep_l1` times sum |vector| / sum |vector * mask|, unless one of them is below 1e-7.
at::Tensor masked(const at::Tensor& vector, const at::Tensor& mask, bool keep_l1);

struct CompatMerge {
  std::vector<double> weights;
  bool elect = false;      // only entries of the elected sign
  bool normalize = false;  // divided by the sum of the weights (of those that agree); 1 where that is zero
};
// What mergekit adds to the base, before its factor `lambda`.
at::Tensor mixed_delta(const Slice& slice, std::vector<at::Tensor> vectors, const CompatMerge& how);
// base + scale * delta, each operation rounded.
at::Tensor moved(const Slice& slice, const at::Tensor& delta, double scale);

}  // namespace fusegrid
