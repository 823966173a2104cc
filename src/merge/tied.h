#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/model_source.h"

namespace fusegrid {

// Whether a tensor of this name is the output head of a language model, which may be tied to its embedding.
bool is_output_head(const std::string& tensor);
// The same of its bias.
bool is_output_bias(const std::string& tensor);

// Makes models that tie their head to the embedding, and models that store both, have the same tensors. What a model
// means is judged by its tensors (a stored head that is the embedding bit for bit is tied) and, where it stores no
// head, by its configuration (checkpoint/tied_head.h).
//
//   all tied                the head is the reference's own where that stores it without saying that it is tied, and is
//                           left out else
//   one has a head of its own   those that are tied have theirs as a copy of the embedding; the result is not tied
//
// The same holds for other tables that are the embedding (an encoder's and a decoder's), and for a head's bias that
// some versions of a library store twice. Models that differ otherwise stay as they are.
//
// models: the reference first; they are replaced by views of themselves. Returns whether the result is to be written
// as not tied although the reference says that it is. Throws ConfigError where a model says that it is tied but
// stores a head of its own, and where what would have to be untied computes otherwise then (models with encoder and
// decoder); what reading throws.
bool make_ties_alike(const std::vector<std::unique_ptr<ModelSource>*>& models);

}  // namespace fusegrid
