// What lies beside the weights in folders of models, by name.
#pragma once

#include <cstdint>
#include <string>

namespace fusegrid {

enum class FolderEntry : uint8_t {
  kModel,    // configuration, tokenizer, code, licence, whatever else belongs to the model
  kWeights,  // weights in whatever format, or their index
  kTrainer,  // a training run's state, logs and older checkpoints: nothing of the model needs them
  kTool,     // what git, download tools and desktops keep
};

// name: of a file or a folder, without the folders above it.
FolderEntry folder_entry(const std::string& name);

// A file that runs code when it is loaded (torch.save and the like).
bool is_pickle(const std::string& name);

// "model-00002-of-00007.safetensors": one of several files, which an index binds together.
bool is_shard(const std::string& name);

}  // namespace fusegrid
