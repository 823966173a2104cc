// A document of mergekit as a merge of fusegrid.
#pragma once

#include "merge/mergekit/slice_inputs.h"
#include "merge/spec.h"

namespace fusegrid::mergekit {

// What can be checked before any model of `made` is there: the method, its parameters, dtypes, and that all other
// models are folders. Throws ConfigError with the line.
void check_document(const Document& document, const MadeModels& made);

// `common` with the models, methods, parameters and dtypes of the document. Its out, threads and the like stay. All
// models must be there. Throws ConfigError with the line: layers that a model has not, parameters that are missing for
// a tensor, numbers of models that the method does not take; DataError, IoError where a model cannot be opened.
MergeSpec translated(const Document& document, const MadeModels& made, const MergeSpec& common);

}  // namespace fusegrid::mergekit
