#include "fusion/method.h"

#include <algorithm>

#include "fusion/common_parameters.h"
#include "fusion/external_row.h"

namespace fusegrid {

Registry<Method>& method_registry() {
  static Registry<Method> registry("fusion method", external_method);
  return registry;
}

MethodCard Method::card_of(const ParamText& parameters) const {
  MethodCard of_call = card;
  of_call.needs = needs(parameters);
  return of_call;
}

bool Method::is_row(const std::string& parameter, const std::string& value) const {
  const auto all = common_parameters();
  return card.told_apart.contains(parameter) || needs({{parameter, value}}) != card.needs ||
         std::any_of(all.begin(), all.end(),
                     [&](const ParamInfo& common) { return common.name == parameter; });
}

std::string to_string(Family family) {
  switch (family) {
    case Family::kReference:
      return "reference";
    case Family::kAveraging:
      return "averaging";
    case Family::kTaskVector:
      return "task vectors";
    case Family::kAlignment:
      return "alignment";
    case Family::kStatistics:
      return "statistics";
    case Family::kTestTime:
      return "test-time adaptation";
    case Family::kSubspace:
      return "subspace";
    case Family::kEnsemble:
      return "ensemble";
    case Family::kRouting:
      return "routing";
    case Family::kExternal:
      return "external";
  }
  FUSEGRID_ASSERT(false, "unknown family");
}

std::string to_string(Grain grain) {
  switch (grain) {
    case Grain::kElements:
      return "elements";
    case Grain::kTensors:
      return "tensors";
    case Grain::kWholeModel:
      return "whole model";
  }
  FUSEGRID_ASSERT(false, "unknown grain");
}

std::string to_string(Need need) {
  switch (need) {
    case Need::kPretrained:
      return "base weights";
    case Need::kMultitask:
      return "multi-task model";
    case Need::kTrainInputs:
      return "train inputs";
    case Need::kTrainLabels:
      return "train labels";
    case Need::kGradients:
      return "gradients";
    case Need::kTestInputs:
      return "test inputs (unlabelled)";
    case Need::kValidationInputs:
      return "validation inputs (unlabelled)";
    case Need::kValidationExamples:
      return "labelled validation examples";
    case Need::kClassesSeen:
      return "classes seen";
  }
  FUSEGRID_ASSERT(false, "unknown need");
}

std::string to_string(Demand demand) {
  switch (demand) {
    case Demand::kBlocks:
      return "a stack of blocks with MLPs";
    case Demand::kLayers:
      return "affine layers";
    case Demand::kAxisGroups:
      return "axes that can be permuted alike";
    case Demand::kFreeWidths:
      return "layers of any width (no heads of attention, no layer norms)";
    case Demand::kRunningStatistics:
      return "running statistics of batch norm";
    case Demand::kRepairable:
      return "layers with biases and no norms";
    case Demand::kDistribution:
      return "outputs that are distributions";
    case Demand::kClasses:
      return "tasks of classes";
    case Demand::kHeads:
      return "heads outside the models";
    case Demand::kAffineHeads:
      return "affine heads";
    case Demand::kHeadInside:
      return "a head of classes inside the models";
  }
  FUSEGRID_ASSERT(false, "unknown demand");
}

std::string to_string(Yields yields) {
  switch (yields) {
    case Yields::kOneModel:
      return "one model";
    case Yields::kModelPerTask:
      return "one model per task";
    case Yields::kEnsemble:
      return "ensemble";
    case Yields::kRoutedModel:
      return "routed model";
  }
  FUSEGRID_ASSERT(false, "unknown kind of result");
}

}  // namespace fusegrid
