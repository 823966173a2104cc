#include "fusion/compat/porting.h"

namespace fusegrid {
namespace {

PortedParameter of_each_model(PortedParameter parameter) {
  parameter.scope = PortedScope::kOfEachModel;
  return parameter;
}

PortedParameter truth_value(const std::string& name, const std::string& default_value,
                            const std::string& here, const std::string& if_true,
                            const std::string& if_false) {
  return {.name = name,
          .default_value = default_value,
          .here = here,
          .note = "`True` is `" + if_true + "`, `False` is `" + if_false + "`",
          .if_true = if_true,
          .if_false = if_false};
}

PortedParameter normalize(const std::string& default_value) {
  return truth_value("normalize", default_value, "merge", "mean", "sum");
}

PortedParameter rescale(const std::string& default_value) {
  return truth_value("rescale", default_value, "rescale", "l1", "none");
}

PortedParameter unused(const std::string& name, const std::string& default_value, const std::string& note) {
  return {.name = name, .default_value = default_value, .here = "", .note = note};
}

const PortedParameter kMask = unused("int8_mask", "False", "how masks are stored, the result is the same");
const PortedParameter kWeight =
    of_each_model({"weight", "", "weights", "one per expert; here 1 each where it is not given"});
const PortedParameter kShare =
    of_each_model({"weight", "", "weights", "one per expert; here equal ones where it is not given"});
const PortedParameter kDensity = of_each_model({"density", "1.0", "density", "one, or one per expert"});
const PortedParameter kGamma = of_each_model({"gamma", "0.01", "gamma", "one, or one per expert"});
const PortedParameter kEpsilon = of_each_model({"epsilon", "0.15", "epsilon", "one, or one per expert"});
const PortedParameter kDropRate =
    of_each_model({"density", "1.0", "drop_rate", "`drop_rate` = 1 - `density`; one, or one per expert"});

// The parameters of all of mergekit's methods that merge task vectors by "generalised task arithmetic".
std::vector<PortedParameter> task_vector_parameters(const std::vector<PortedParameter>& own) {
  std::vector<PortedParameter> all{kWeight, {"lambda", "1.0", "scale"}, kMask};
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

}  // namespace

const std::vector<PortedMethod>& ported_methods() {
  static const std::vector<PortedMethod> ported{
      {"arcee_fusion", "arcee_fusion", {}},
      {"breadcrumbs", "breadcrumbs{density=1,gamma=0.01,elect=false,merge=sum,rescale=none,scale=1}",
       task_vector_parameters({kDensity, kGamma, normalize("False"), rescale("False")})},
      {"breadcrumbs_ties", "breadcrumbs{density=1,gamma=0.01,elect=true,merge=sum,rescale=none,scale=1}",
       task_vector_parameters({kDensity, kGamma, normalize("False"), rescale("False")})},
      {"dare_linear", "dare{drop_rate=0,rescale=l1,merge=sum,scale=1}",
       task_vector_parameters({kDropRate, normalize("False"), rescale("True")})},
      {"dare_ties", "dare_ties{drop_rate=0,density=1,rescale=l1,merge=sum,scale=1}",
       task_vector_parameters({kDropRate, normalize("False"), rescale("True")})},
      {"della", "della{density=1,epsilon=0.15,elect=true,merge=mean,rescale=l1,scale=1}",
       task_vector_parameters({kDensity, kEpsilon, normalize("True"), rescale("True")})},
      {"della_linear", "della{density=1,epsilon=0.15,elect=false,merge=sum,rescale=l1,scale=1}",
       task_vector_parameters({kDensity, kEpsilon, normalize("False"), rescale("True")})},
      {"karcher",
       "karcher{max_iter=10,tol=0.00001}",
       {{"max_iter", "10", "max_iter"}, {"tol", "1e-05", "tol"}},
       PortedBase::kIgnored},
      {"linear",
       "weighted_average{normalize=true}",
       {kShare, {"normalize", "True", "normalize"}},
       PortedBase::kIgnored},
      {"model_stock",
       "model_stock{average=cosines,unit=tensor}",
       {truth_value("filter_wise", "False", "unit", "filters", "tensor")}},
      {"multislerp",
       "multislerp{normalize=true,eps=0.00000001}",
       {kShare, {"normalize_weights", "True", "normalize"}, {"eps", "1e-08", "eps"}},
       PortedBase::kOptional},
      {"nearswap", "nearswap", {{"t", "", "t"}}},
      {"nuslerp",
       "nuslerp{arc=task_vectors,unit=tensor}",
       {of_each_model({"weight", "", "t", "`t` = w_2 / (w_1 + w_2); without a base `arc=weights`"}),
        {"nuslerp_flatten", "True", "unit", "`True` is `tensor`; `False` is `rows`"},
        {"nuslerp_row_wise", "False", "unit", "`True`, where nothing is flattened, is `columns`"}},
       PortedBase::kOptional},
      {"passthrough",
       "passthrough{scale=1}",
       {of_each_model({"scale", "None", "scale", "`None` is 1"})},
       PortedBase::kIgnored},
      {"ram", "ram{plus=none,epsilon=0.00001,scale=1}", {{"epsilon", "1e-05", "epsilon"}}},
      {"ramplus_tl",
       "ram{plus=tensor,r=0.1,alpha=0.2,epsilon=0.00001,scale=1}",
       {{"r", "0.1", "r"}, {"alpha", "0.2", "alpha"}, {"epsilon", "1e-05", "epsilon"}}},
      {"sce", "sce{density=1,scale=1}", {{"select_topk", "1.0", "density"}, kMask}},
      {"slerp", "slerp{threshold=0.9995}", {{"t", "", "t", "mergekit's base is the first expert"}}},
      {"task_arithmetic", "task_arithmetic{merge=sum,scale=1}",
       task_vector_parameters(
           {normalize("False"),
            of_each_model(unused("density", "1.0", "mergekit reads it and makes nothing sparse")),
            unused("rescale", "False", "the same")})},
      {"ties", "ties{dialect=mergekit,density=1,merge=mean,rescale=none,scale=1}",
       task_vector_parameters({kDensity, normalize("True"), rescale("False")})},
  };
  return ported;
}

}  // namespace fusegrid
