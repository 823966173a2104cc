// Small models with four layers, and files of mergekit that merge them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "merge/checkpoints.h"
#include "merge/mergekit/stages.h"

namespace fusegrid::mergekit {

class Files : public testing::Test {
 protected:
  Files() {
    for (const std::string name : {"base", "a", "b"}) {
      save(name, model(name == "base" ? 0 : static_cast<uint64_t>(name[0])));
    }
  }

  static Weights model(uint64_t key) {
    Weights weights;
    uint64_t stream = 0;
    const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
      const at::Tensor values = at::empty(shape, at::kFloat);
      weights[name] = normal(7, stream, 0, values.numel()).view(shape);
      if (key != 0) {
        weights[name] = weights[name] + normal(key, stream, 0, values.numel()).view(shape) * 0.1;
      }
      ++stream;
    };
    add("model.embed_tokens.weight", {6, 3});
    for (int layer = 0; layer < 4; ++layer) {
      add("model.layers." + std::to_string(layer) + ".self_attn.q_proj.weight", {3, 3});
      add("model.layers." + std::to_string(layer) + ".mlp.up_proj.weight", {5, 3});
    }
    add("model.norm.weight", {3});
    add("lm_head.weight", {6, 3});
    return weights;
  }

  void save(const std::string& name, const Weights& weights) const {
    save_hf_folder(folder / name, weights,
                   {{"model_type", "llama"},
                    {"architectures", {"LlamaForCausalLM"}},
                    {"num_hidden_layers", 4},
                    {"vocab_size", 6}});
  }

  // `text` with the folders of models in the place of @base, @a and @b, as a file.
  std::filesystem::path file(std::string text) const {
    for (size_t at = text.find('@'); at != std::string::npos; at = text.find('@')) {
      text.replace(at, 1, folder.path().string() + "/");
    }
    std::ofstream(folder / "c.yml") << text;
    return folder / "c.yml";
  }

  // Of a file with one document.
  MergeSpec spec(const std::string& text, const std::string& out = "out") const {
    const Stages stages = read_stages(file(text), folder / out);
    MergeSpec common;
    common.threads = 0;
    common.out = folder / out;
    return translated(stages.order.front().document, stages.made, common);
  }

  // What is said of a file that is wrong, without the folder.
  std::string refusal(const std::string& text) const {
    std::string message = message_of<ConfigError>([&] { plan_merge(spec(text)); });
    for (size_t at = message.find(folder.path().string()); at != std::string::npos;
         at = message.find(folder.path().string())) {
      message.erase(at, folder.path().string().size() + 1);
    }
    return message;
  }

  TemporaryFolder folder;
};

}  // namespace fusegrid::mergekit
