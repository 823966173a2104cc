// Dense Llama and Mistral models as one mixture of experts in the layout of Mixtral: up-scaling ("Sparse Upcycling",
// Komatsuzaki et al., 2023, arXiv:2212.05055), and merging as FusionBench's MoE methods and mergekit-moe do.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/model_spec.h"

namespace fusegrid {

// Reads "moe{parameter=value,...}(BASE; EXPERT, EXPERT, ...)" or, with num_experts=N, "moe{...}(BASE)": N times the
// MLPs of BASE. Parameters: experts_per_token (2), num_experts, seed (0). BASE and EXPERT: whatever parse_model() reads
// as a dense model. Null where `text` does not begin so. Throws ConfigError where it does and the rest is wrong.
//
// The model is BASE, of whose MLPs it has one per expert: in layer l, gate_proj, down_proj and up_proj of expert e are
// block_sparse_moe.experts.e.w1, w2 and w3. Every tensor has the dtype that BASE has it in. The router
// block_sparse_moe.gate.weight [experts, hidden] comes from N(0, initializer_range^2): element i of layer l is number i
// of stream l of normal() (core/philox.h) under a key of the seed. Opening it throws ConfigError where a model is none
// that Mixtral can express (other MLPs, biases, other activations, a mixture already), or experts do not fit BASE.
//
// Its config.json is BASE's as that of a MixtralForCausalLM, with a value for every field of which Mixtral has another
// default. A Mistral's sliding window stays.
std::unique_ptr<ModelSpec> parse_mixture(const std::string& text);

}  // namespace fusegrid
