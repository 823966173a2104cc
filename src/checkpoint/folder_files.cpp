#include "checkpoint/folder_files.h"

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

namespace fusegrid {
namespace {

std::string ending_of(const std::string& name) {
  std::string ending = std::filesystem::path(name).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return ending;
}

bool is_number_behind(const std::string& name, const std::string& start) {
  return name.size() > start.size() && name.starts_with(start) &&
         name.find_first_not_of("0123456789", start.size()) == std::string::npos;
}

// Of the trainers of transformers, accelerate, DeepSpeed, FSDP and LLaMA-Factory, and of what watches them.
bool is_trainers(const std::string& name) {
  static const std::set<std::string> names{"all_results.json",
                                           "eval_results.json",
                                           "latest",
                                           "lightning_logs",
                                           "logs",
                                           "predict_results.json",
                                           "runs",
                                           "test_results.json",
                                           "trainer_log.jsonl",
                                           "trainer_state.json",
                                           "train_results.json",
                                           "training_args.bin",
                                           "training_args.json",
                                           "training_args.yaml",
                                           "wandb",
                                           "zero_to_fp32.py",
                                           "trainer_config.yaml",
                                           "training_loss.png",
                                           "training_eval_loss.png",
                                           "nohup.out"};
  static const std::set<std::string> states{
      "optimizer",        "optim",         "scheduler",     "scaler",        "sampler",
      "rng_state",        "random_states", "training_args", "trainer_state", "custom_checkpoint",
      "optimizer_states", "lr_scheduler"};
  // "random_states_3.pkl", "optimizer_0", "optimizer-00001-of-00002.safetensors": a state, and which part of it
  const std::string stem = name.substr(0, name.find_first_of(".-"));
  const std::string state = stem.substr(0, stem.find_last_not_of("0123456789") + 1);
  const bool is_state = (is_pickle(name) || ending_of(name) == ".safetensors" || ending_of(name).empty()) &&
                        (states.contains(state) ||
                         (state.ends_with("_") && states.contains(state.substr(0, state.size() - 1))));
  return names.contains(name) || is_state || name.starts_with("events.out.tfevents") ||
         ending_of(name) == ".log" || is_number_behind(name, "checkpoint-") ||
         is_number_behind(name, "global_step") || is_number_behind(name, "pytorch_model_fsdp_");
}

bool is_weights(const std::string& name) {
  static const std::set<std::string> endings{
      ".safetensors", ".bin",     ".pt", ".pth",    ".ckpt", ".h5",       ".gguf",    ".ggml",
      ".onnx",        ".msgpack", ".ot", ".tflite", ".npz",  ".pdparams", ".mlmodel", ".keras"};
  static const std::regex index_file(R"(.*\.(safetensors|bin|h5|msgpack)\.index(\.[^.]+)?\.json)");
  return endings.contains(ending_of(name)) || name.ends_with(".onnx_data") ||
         std::regex_match(name, index_file);
}

}  // namespace

bool is_pickle(const std::string& name) {
  static const std::set<std::string> endings{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"};
  return endings.contains(ending_of(name));
}

bool is_shard(const std::string& name) {
  static const std::regex shard(R"(.*\d+-of-\d+\.safetensors)");
  return std::regex_match(name, shard);
}

FolderEntry folder_entry(const std::string& name) {
  if (name.starts_with(".") || name == "__pycache__") {
    return FolderEntry::kTool;
  }
  return is_trainers(name)  ? FolderEntry::kTrainer
         : is_weights(name) ? FolderEntry::kWeights
                            : FolderEntry::kModel;
}

}  // namespace fusegrid
