#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusion/fused_model.h"

namespace fusegrid {

// The heads of tasks that have running statistics (decoders of maps), with those statistics made anew, see
// Readout::re_estimated(), on the features that the merged model of the task makes. None where no head has any.
//   network        under the heads of the merge
//   ready_batches  of each task, one or more
// ConfigError where several models answer a task together.
std::map<std::string, std::shared_ptr<const Readout>> re_estimated_heads(
    const Network& network, const Predictor& predictor,
    const std::map<std::string, std::vector<Inputs>>& ready_batches);

}  // namespace fusegrid
