#include "checkpoint/contained_folder.h"
#include "checkpoint/lora_config.h"
#include "fuzz/target.h"

namespace fusegrid::fuzz::adapter_config {
namespace {

void read(std::string_view text) {
  write_file(scratch_folder() + "/adapter_config.json", text);
  const ContainedFolder folder(scratch_folder(), false);
  const LoraConfig config(folder.read_json("adapter_config.json", 1 << 20), "adapter_config.json");
  for (const std::string module :
       {"model.layers.11.self_attn.q_proj", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""}) {
    static_cast<void>(config.rank(module));
    static_cast<void>(config.scale(module));
  }
}

std::vector<std::string> seeds() {
  return {
      R"({"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj","v_proj"],"bias":"none",
"fan_in_fan_out":false,"use_rslora":true,"lora_dropout":0.05,"task_type":"CAUSAL_LM"})",
      R"({"peft_type":"LORA","r":4,"lora_alpha":8.5,"rank_pattern":{"q_proj":16,"^layers\\.[0-9]+\\.(k|v)_proj$":2},
"alpha_pattern":{".*q_proj":32},"modules_to_save":null,"use_dora":false,"init_lora_weights":true})"};
}

const RegisterTarget registered{"adapter_config",
                                {read,
                                 seeds,
                                 {"\"rank_pattern\":{", "\"alpha_pattern\":{", "\"r\":", "\"use_dora\":true",
                                  "\"init_lora_weights\":\"pissa\"", "(a|aa)*$", ".*", "(?=a)",
                                  "[a-z]{1,99999}", "\\\\1", "(((((((((("}}};

}  // namespace
}  // namespace fusegrid::fuzz::adapter_config
