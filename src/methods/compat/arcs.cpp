// mergekit's slerp in float32, and its nuslerp, multislerp, karcher and model_stock, where every operation rounds.

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/compat/compat.h"

namespace fusegrid::compat::arcs {
namespace {

at::Tensor lengths(const at::Tensor& rows, bool keep_dimension) {
  return at::linalg_vector_norm(rows, 2, {{-1}}, keep_dimension);
}

// -- slerp: norms and dot products of chunks, which are then added, bound the original's memory

constexpr int64_t kChunk = int64_t{1} << 20;

std::vector<at::Tensor> chunks(const at::Tensor& flat) {
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < flat.numel(); begin += kChunk) {
    parts.push_back(flat.narrow(0, begin, std::min(kChunk, flat.numel() - begin)).view({1, -1}));
  }
  return parts;
}

at::Tensor chunked_length(const at::Tensor& flat) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& chunk : chunks(flat)) {
    norms.push_back(at::linalg_vector_norm(chunk, 2, {{1}}, /*keepdim=*/true));
  }
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms), 2, {{0}});
  return at::where(norm > 1e-8, norm, 1);
}

at::Tensor chunked_cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor length_a = chunked_length(a);
  const at::Tensor length_b = chunked_length(b);
  const auto parts_a = chunks(a);
  const auto parts_b = chunks(b);
  std::vector<at::Tensor> dots;
  for (size_t i = 0; i < parts_a.size(); ++i) {
    dots.push_back(((parts_a[i] / length_a) * (parts_b[i] / length_b)).sum({1}, true));
  }
  return at::stack(dots).sum({0}).clamp(-1, 1);
}

FusedModel slerp(const FusionInput& in, const CompatOptions& options) {
  constexpr double kCollinear = 0.9995;
  const at::Tensor t = at::scalar_tensor(options.number("t"), at::TensorOptions(at::kFloat)).view({1, 1});
  return one_model(in.map_tensors([&](const Slice& slice) {
    const at::Tensor a = stored(slice, slice.expert(0)).to(at::kFloat).reshape({-1});
    const at::Tensor b = stored(slice, slice.expert(1)).to(at::kFloat).reshape({-1});
    const at::Tensor share = t.to(a.device());
    const at::Tensor cosine = chunked_cosine(a, b);
    const at::Tensor linear = cosine.abs() > kCollinear;
    const at::Tensor angle = at::where(linear, 0, cosine).acos();
    const at::Tensor sine = angle.sin();
    const at::Tensor rest = at::rsub(share, 1);
    const at::Tensor weight_a = at::where(linear, rest, (rest * angle).sin() / sine);
    const at::Tensor weight_b = at::where(linear, share, (share * angle).sin() / sine);
    return stored(slice, (weight_a * a + weight_b * b).view(slice.expert(0).sizes())).to(at::kFloat);
  }));
}

const RegisterCompat slerp_{
    "slerp",
    {.original = "slerp (its base is the first expert)",
     .rounding = "float32 throughout, rounded once at the end",
     .check = [](const CompatOptions& options) { options.require("threshold", {"0.9995"}); },
     .fuse = slerp}};

// -- nuslerp

// Along the last dimension.
at::Tensor walk(const at::Tensor& a, const at::Tensor& b, double t) {
  const at::Tensor unit_a = a / lengths(a, true).clamp_min(1e-7);
  const at::Tensor unit_b = b / lengths(b, true).clamp_min(1e-7);
  const at::Tensor cosine = (unit_a * unit_b).sum({-1}, true).clamp(-1, 1);
  const at::Tensor straight = at::rsub(cosine.square(), 1) <= 1e-8 * 1e-8;
  const at::Tensor angle = at::where(straight, 0, cosine).acos();
  const at::Tensor bent = ((angle * (1 - t)).sin() * a + (angle * t).sin() * b) / angle.sin();
  return at::where(straight, a * (1 - t) + b * t, bent);
}

at::Tensor walk_by_unit(const at::Tensor& a, const at::Tensor& b, double t, const std::string& unit) {
  if (unit == "tensor" || a.dim() == 0) {
    return walk(a.reshape({-1}), b.reshape({-1}), t).view(a.sizes());
  }
  return unit == "rows" ? walk(a, b, t) : walk(a.transpose(0, -1), b.transpose(0, -1), t).transpose(0, -1);
}

FusedModel nuslerp(const FusionInput& in, const CompatOptions& options) {
  const double t = options.number("t");
  const std::string& unit = options.word("unit");
  const bool of_weights = options.word("arc") == "weights";
  return one_model(in.map_tensors([&](const Slice& slice) {
    const auto ends = of_weights ? stored(slice, slice.experts()) : stored_task_vectors(slice);
    const at::Tensor walked = walk_by_unit(ends[0], ends[1], t, unit);
    return (of_weights ? walked : stored(slice, slice.base()) + walked).to(at::kFloat);
  }));
}

const RegisterCompat nuslerp_{"nuslerp",
                              {.original = "nuslerp",
                               .rounding = "every operation rounds",
                               .check = [](const CompatOptions&) {},
                               .fuse = nuslerp}};

// -- multislerp

// vectors: [models, elements], weights: [models]; both in T.
at::Tensor spherical_mean(const at::Tensor& vectors, const at::Tensor& weights, double eps) {
  const at::Tensor column = weights.view({-1, 1});
  const at::Tensor norms = lengths(vectors, true);
  const at::Tensor units = vectors / (norms + eps);
  const at::Tensor sum = (units * column).sum({0});
  const at::Tensor length = at::linalg_vector_norm(sum, 2);
  if ((length < eps).item<bool>()) {  // for more than two models the original ends here
    at::Tensor mixed = vectors[0] * weights[0];
    for (int64_t i = 1; i < vectors.size(0); ++i) {
      mixed = mixed + vectors[i] * weights[i];
    }
    return mixed;
  }
  const at::Tensor mean = sum / length;
  const at::Tensor dots = (units * mean).sum({-1}, true);
  const at::Tensor tangent = ((units - dots * mean) * column).sum({0});
  const at::Tensor angle = at::linalg_vector_norm(tangent, 2) + eps;
  const at::Tensor result = mean * angle.cos() + tangent * (angle.sin() / angle);
  return result * (norms.squeeze(-1) * weights).sum();
}

FusedModel multislerp(const FusionInput& in, const CompatOptions& options) {
  const auto weights = options.weights(in.num_experts());
  const bool around_base = options.word("around") == "base";
  return one_model(in.map_tensors([&](const Slice& slice) {
    if (slice.num_experts() == 1) {
      return stored(slice, slice.expert(0)).to(at::kFloat);
    }
    const auto vectors = around_base ? stored_task_vectors(slice) : stored(slice, slice.experts());
    at::Tensor shares = weight_tensor(weights, vectors[0]);
    if (options.flag("normalize")) {
      shares = shares / shares.sum();
    }
    const auto models = static_cast<int64_t>(vectors.size());
    const at::Tensor mean =
        spherical_mean(at::stack(vectors).view({models, slice.count}), shares, options.number("eps"))
            .view(vectors[0].sizes());
    return (around_base ? mean + stored(slice, slice.base()) : mean).to(at::kFloat);
  }));
}

const RegisterCompat multislerp_{"multislerp",
                                 {.original = "multislerp",
                                  .rounding = "every operation rounds",
                                  .check = [](const CompatOptions&) {},
                                  .fuse = multislerp}};

// -- karcher: norms and angles of steps in float32, everything else rounds

struct Sphere {
  std::vector<at::Tensor> units;  // in T, of the models that have a direction
  std::vector<double> shares;     // of each
  at::Tensor radius;              // float32
};

at::Tensor float_length(const at::Tensor& vector) {
  return at::linalg_vector_norm(vector.to(at::kFloat), 2);
}

Sphere sphere_of(const std::vector<at::Tensor>& tensors, double tol) {
  const double share = 1.0 / static_cast<double>(tensors.size());
  Sphere sphere;
  double total = 0;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor norm = float_length(tensor);
    const at::Tensor part = norm * share;
    sphere.radius = sphere.radius.defined() ? sphere.radius + part : at::add(part, 0);
    if (norm.item<double>() > tol) {
      sphere.units.push_back((tensor / norm).to(tensor.scalar_type()));
      total += share;
    }
  }
  sphere.shares.assign(sphere.units.size(), share / total);
  return sphere;
}

at::Tensor tangent_at(const at::Tensor& mean, const Sphere& sphere, double tol) {
  at::Tensor tangent = at::zeros_like(mean);
  for (size_t i = 0; i < sphere.units.size(); ++i) {
    const at::Tensor& unit = sphere.units[i];
    const at::Tensor dot = at::dot(mean.flatten(), unit.flatten()).clamp(-1, 1);
    const at::Tensor angle = dot.acos();
    if (angle.item<double>() >= tol) {
      tangent.add_((angle / angle.sin()) * sphere.shares[i] * (unit - dot * mean));
    }
  }
  return tangent;
}

at::Tensor direction_of(const Sphere& sphere, int64_t steps, double tol) {
  const auto dtype = sphere.units[0].scalar_type();
  at::Tensor mean = at::zeros_like(sphere.units[0]);
  for (size_t i = 0; i < sphere.units.size(); ++i) {
    mean.add_(sphere.units[i] * sphere.shares[i]);
  }
  const at::Tensor start = float_length(mean);
  mean = start.item<double>() < tol ? sphere.units[0].clone() : (mean / start).to(dtype);
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor tangent = tangent_at(mean, sphere, tol);
    const at::Tensor angle = float_length(tangent);
    if (angle.item<double>() < tol) {
      break;
    }
    mean = (angle.cos() * mean + angle.sin() * (tangent / angle)).to(dtype);
    const at::Tensor length = float_length(mean);
    if (length.item<double>() > tol) {
      mean = (mean / length).to(dtype);
    }
  }
  return mean;
}

FusedModel karcher(const FusionInput& in, const CompatOptions& options) {
  const auto steps = static_cast<int64_t>(options.number("max_iter"));
  const double tol = options.number("tol");
  return one_model(in.map_tensors([&](const Slice& slice) {
    const auto tensors = stored(slice, slice.experts());
    if (tensors.size() == 1) {
      return tensors[0].to(at::kFloat);
    }
    const Sphere sphere = sphere_of(tensors, tol);
    const at::Tensor mean =
        sphere.units.empty() ? at::zeros_like(tensors[0]) : sphere.radius * direction_of(sphere, steps, tol);
    return mean.to(at::kFloat);
  }));
}

const RegisterCompat karcher_{
    "karcher",
    {.original = "karcher (without a base)",
     .rounding = "norms and the angle of a step in float32, every other operation rounds",
     .check = [](const CompatOptions&) {},
     .fuse = karcher}};

// -- model_stock

// Mean of the cosines over the pairs; offsets: [rows, n] or [n].
at::Tensor mean_cosine(const std::vector<at::Tensor>& offsets) {
  std::vector<at::Tensor> cosines;
  for (size_t i = 0; i < offsets.size(); ++i) {
    for (size_t j = i + 1; j < offsets.size(); ++j) {
      const at::Tensor norms = lengths(offsets[i], false) * lengths(offsets[j], false);
      const at::Tensor product = (offsets[i] * offsets[j]).sum({-1});
      cosines.push_back((product / norms.clamp_min(1e-6)).clamp(-1, 1));
    }
  }
  return at::stack(cosines).mean({0}).unsqueeze(-1);
}

FusedModel model_stock(const FusionInput& in, const CompatOptions& options) {
  const bool by_filter = options.word("unit") == "filters";
  const auto models = static_cast<double>(in.num_experts());
  return one_model(in.map_tensors([&](const Slice& slice) {
    const auto shaped = [&](const at::Tensor& values) {
      const at::Tensor tensor = stored(slice, values);
      return by_filter && tensor.dim() > 0 ? (tensor.dim() == 1 ? tensor.unsqueeze(0) : tensor)
                                           : tensor.reshape({-1});
    };
    const at::Tensor base = shaped(slice.base());
    std::vector<at::Tensor> offsets;
    at::Tensor sum;
    for (const at::Tensor& expert : slice.experts()) {
      const at::Tensor tensor = shaped(expert);
      offsets.push_back(tensor - base);
      sum = sum.defined() ? sum + tensor : at::add(tensor, 0);
    }
    const at::Tensor cosine = mean_cosine(offsets);
    const at::Tensor divisor = cosine * (models - 1) + 1;
    const at::Tensor pole = divisor.abs() < 1e-6;
    const at::Tensor t = (cosine * models / divisor.masked_fill(pole, 1)).masked_fill(pole, 0);
    return (t * (sum / models) + at::rsub(t, 1) * base).view(slice.base().sizes()).to(at::kFloat);
  }));
}

const RegisterCompat model_stock_{
    "model_stock",
    {.original = "model_stock",
     .rounding = "every operation rounds",
     .check = [](const CompatOptions& options) { options.require("average", {"cosines"}); },
     .fuse = model_stock}};

}  // namespace
}  // namespace fusegrid::compat::arcs
