#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "models/readout.h"

namespace fusegrid {

// head(tanh(features weight^T + bias)): what BERT's pooler and its classifier, or RoBERTa's classification head, make
// of the first token.
//   weight  float [columns of head, feature size]
//   bias    float [columns of head]
// Source: Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805; HuggingFace's BertForSequenceClassification.
std::shared_ptr<const Readout> tanh_readout(at::Tensor weight, at::Tensor bias,
                                            std::shared_ptr<const Readout> head);

}  // namespace fusegrid
