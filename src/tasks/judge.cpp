#include "tasks/judge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/linear.h>

#include "core/errors.h"

namespace fusegrid {

Judge::Judge(const PackJudge& judge, int64_t classes, int64_t styles)
    : architecture_(make_architecture(judge.config)),
      tensors_(judge.tensors),
      classes_(classes),
      styles_(styles) {
  const auto head = architecture_->own_head();
  if (architecture_->input().image_size == 0 || !head || head->of_tokens()) {
    throw ConfigError(
        "the judge of a task pack must be a network of images with a head of classes, but it is a " +
        architecture_->name());
  }
  for (const TensorInfo& info : architecture_->parameters()) {
    const auto found = tensors_.find(info.name);
    if (found == tensors_.end() || found->second.sizes().vec() != info.shape) {
      throw ConfigError(
          "the judge of a task pack must have a tensor " + info.name +
          (found == tensors_.end() ? ", but it is missing" : " of the shape that its config says"));
    }
  }
  if (const int64_t outputs = tensors_.at(head->weight).size(0); outputs != classes + styles) {
    throw ConfigError("the judge of a task pack must have an output for each class and style, " +
                      std::to_string(classes + styles) + ", but it has " + std::to_string(outputs));
  }
}

Judge::Verdict Judge::operator()(const at::Tensor& pictures) const {
  Inputs inputs;
  inputs.images = pictures.to(at::kCPU, at::kFloat).expand({-1, 3, -1, -1});
  const OwnHead head = *architecture_->own_head();
  const at::Tensor features = architecture_->features(tensors_, inputs, head.pooling);
  const at::Tensor logits = at::linear(features, tensors_.at(head.weight), tensors_.at(head.bias));
  return {at::argmax(logits.narrow(1, 0, classes_), 1), at::argmax(logits.narrow(1, classes_, styles_), 1),
          features};
}

}  // namespace fusegrid
