#include "fusion/compat/porting.h"

namespace fusegrid {
namespace {

const std::string kMaskStorage = "how masks are stored, the result is the same";

// The parameters of all of mergekit's methods that merge task vectors by "generalised task arithmetic".
std::vector<PortedParameter> task_vector_parameters(const std::vector<PortedParameter>& own) {
  std::vector<PortedParameter> all{
      {"weight", "", "weights", "one per expert; here 1 each where it is not given"},
      {"lambda", "1.0", "scale"},
      {"int8_mask", "False", "", kMaskStorage},
  };
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

PortedParameter normalize(const std::string& default_value) {
  return {"normalize", default_value, "merge", "`True` is `mean`, `False` is `sum`"};
}

PortedParameter rescale(const std::string& default_value) {
  return {"rescale", default_value, "rescale", "`True` is `l1`, `False` is `none`"};
}

const PortedParameter kDensity{"density", "1.0", "density", "one, or one per expert"};
const PortedParameter kGamma{"gamma", "0.01", "gamma", "one, or one per expert"};
const PortedParameter kEpsilon{"epsilon", "0.15", "epsilon", "one, or one per expert"};
const PortedParameter kDropRate{"density", "1.0", "drop_rate",
                                "`drop_rate` = 1 - `density`; one, or one per expert"};

}  // namespace

const std::vector<PortedMethod>& ported_methods() {
  static const std::vector<PortedMethod> kMethods{
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
       {{"max_iter", "10", "max_iter"}, {"tol", "1e-05", "tol"}}},
      {"linear",
       "weighted_average{normalize=true}",
       {{"weight", "", "weights", "one per expert; here equal ones where it is not given"},
        {"normalize", "True", "normalize"}}},
      {"model_stock",
       "model_stock{average=cosines,unit=tensor}",
       {{"filter_wise", "False", "unit", "`True` is `filters`, `False` is `tensor`"}}},
      {"multislerp",
       "multislerp{normalize=true}",
       {{"weight", "", "weights", "one per expert; here equal ones where it is not given"},
        {"normalize_weights", "True", "normalize"},
        {"eps", "1e-08", "", "always its default"}}},
      {"nearswap", "nearswap", {{"t", "", "t"}}},
      {"nuslerp",
       "nuslerp{arc=task_vectors,unit=tensor}",
       {{"weight", "", "t", "`t` = w_2 / (w_1 + w_2); without a base `arc=weights`"},
        {"nuslerp_flatten", "True", "unit", "`True` is `tensor`; `False` is `rows`"},
        {"nuslerp_row_wise", "False", "unit", "`True`, where nothing is flattened, is `columns`"}}},
      {"passthrough", "passthrough", {{"scale", "None", "", "no factor for single tensors"}}},
      {"ram", "ram{plus=none,epsilon=0.00001,scale=1}", {{"epsilon", "1e-05", "epsilon"}}},
      {"ramplus_tl",
       "ram{plus=tensor,r=0.1,alpha=0.2,epsilon=0.00001,scale=1}",
       {{"r", "0.1", "r"}, {"alpha", "0.2", "alpha"}, {"epsilon", "1e-05", "epsilon"}}},
      {"sce",
       "sce{density=1,scale=1}",
       {{"select_topk", "1.0", "density"}, {"int8_mask", "False", "", kMaskStorage}}},
      {"slerp", "slerp{threshold=0.9995}", {{"t", "", "t", "mergekit's base is the first expert"}}},
      {"task_arithmetic", "task_arithmetic{scale=1}",
       task_vector_parameters(
           {{"normalize", "False", "", "for `True` divide `scale` by the sum of the weights"},
            {"density", "1.0", "", "mergekit reads it and makes nothing sparse"},
            {"rescale", "False", "", "the same"}})},
      {"ties", "ties{dialect=mergekit,density=1,merge=mean,scale=1}",
       task_vector_parameters(
           {kDensity, normalize("True"), {"rescale", "False", "", "`True` is not offered"}})},
  };
  return kMethods;
}

}  // namespace fusegrid
