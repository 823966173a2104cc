"""Golden mixture of experts in the layout of Mixtral, made by mergekit-moe.

Run: python make_mixture_mergekit.py [OUTPUT_FOLDER]   (default: mixture/ beside this file)

base/, expert0/ and expert1/ are small Llamas (base and expert0 bfloat16, expert1
float32), expected.safetensors and expected_config.json what mergekit makes of them
with gate_mode random. mergekit 0.1.5 writes the tensors as transformers 5 holds them
in memory (mlp.experts.gate_up_proj [experts, 2 * intermediate, hidden], down_proj
[experts, hidden, intermediate]); here they have the names and shapes of published
Mixtral checkpoints, which transformers 4 and 5 read. The order of the halves is
checked with transformers 5: it must load both layouts to the same parameters.
"""

import json
import os
import shutil
import sys
import tempfile

import torch
from mergekit.moe.config import Expert, MoEMergeConfig
from mergekit.moe.mixtral import MixtralMoE
from mergekit.moe.router import get_gate_params
from mergekit.options import MergeOptions
from safetensors.torch import load_file, save_file
from transformers import MixtralForCausalLM

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "mixture")
HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCABULARY = 8, 12, 2, 2, 1, 11
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": HIDDEN, "initializer_range": 0.02,
    "intermediate_size": INTERMEDIATE, "max_position_embeddings": 64, "mlp_bias": False,
    "model_type": "llama", "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS, "pretraining_tp": 1, "rms_norm_eps": 2e-06,
    "rope_theta": 5000.0, "tie_word_embeddings": False, "vocab_size": VOCABULARY,
}


def shapes():
    kv = HIDDEN // HEADS * KV_HEADS
    layer = {
        "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,),
        "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (kv, HIDDEN),
        "self_attn.v_proj": (kv, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN), "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    all_shapes = {f"model.layers.{i}.{name}.weight": shape
                  for i in range(LAYERS) for name, shape in layer.items()}
    for name in ("model.embed_tokens", "lm_head"):
        all_shapes[name + ".weight"] = (VOCABULARY, HIDDEN)
    all_shapes["model.norm.weight"] = (HIDDEN,)
    return all_shapes


def make_dense(name, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    tensors = {key: torch.randn(shape, generator=generator).to(dtype)
               for key, shape in sorted(shapes().items())}
    save_golden(os.path.join(OUT, name, "model.safetensors"), tensors, {"format": "pt"})
    config = dict(CONFIG, torch_dtype=str(dtype).removeprefix("torch."))
    with open(os.path.join(OUT, name, "config.json"), "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")
    return os.path.join(OUT, name)


def published_layout(tensors):
    result = {}
    for name, value in tensors.items():
        prefix = name.split(".mlp.")[0] + ".block_sparse_moe."
        if name.endswith(".mlp.gate.weight"):
            result[prefix + "gate.weight"] = value
        elif name.endswith(".mlp.experts.gate_up_proj"):
            for expert, both in enumerate(value):
                result[f"{prefix}experts.{expert}.w1.weight"] = both[:INTERMEDIATE].contiguous()
                result[f"{prefix}experts.{expert}.w3.weight"] = both[INTERMEDIATE:].contiguous()
        elif name.endswith(".mlp.experts.down_proj"):
            for expert, down in enumerate(value):
                result[f"{prefix}experts.{expert}.w2.weight"] = down.contiguous()
        else:
            result[name] = value
    return result


def check_layout(folder, tensors):
    with tempfile.TemporaryDirectory() as other:
        shutil.copy(os.path.join(folder, "config.json"), other)
        save_file(tensors, os.path.join(other, "model.safetensors"), {"format": "pt"})
        loaded = []
        for path in (folder, other):
            model, info = MixtralForCausalLM.from_pretrained(path, output_loading_info=True)
            assert not info["missing_keys"] and not info["unexpected_keys"], info
            loaded.append(model.state_dict())
    for name, value in loaded[0].items():
        assert torch.equal(value, loaded[1][name]), name


def main():
    torch.set_num_threads(1)
    base = make_dense("base", 1, torch.bfloat16)
    experts = [make_dense("expert0", 2, torch.bfloat16), make_dense("expert1", 3, torch.float32)]
    config = MoEMergeConfig(base_model=base, gate_mode="random", dtype="bfloat16",
                            experts=[Expert(source_model=path) for path in experts])
    torch.manual_seed(4)
    gates = get_gate_params(config.base_model, None, config.experts, mode="random")
    with tempfile.TemporaryDirectory() as folder:
        MixtralMoE().write_model(folder, config, MergeOptions(), router_weights=list(gates))
        tensors = published_layout(load_file(os.path.join(folder, "model.safetensors")))
        check_layout(folder, tensors)
        with open(os.path.join(folder, "config.json")) as file:
            fields = json.load(file)
    save_golden(os.path.join(OUT, "expected.safetensors"), tensors,
                dict(package="mergekit 0.1.5", original="mergekit.moe.mixtral.MixtralMoE.write_model"))
    with open(os.path.join(OUT, "expected_config.json"), "w") as file:
        json.dump(fields, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
