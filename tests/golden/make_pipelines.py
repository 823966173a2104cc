"""A golden pipeline of diffusers, LoRA files on it, and the weights that diffusers makes of them.

Run: python make_pipelines.py [OUTPUT_FOLDER]   (default: pipelines/ beside this file)

base/unet and base/text_encoder are small components as save_pretrained writes them. diffusers.safetensors is a file of
save_lora_weights with PEFT's configuration in its metadata, kohya.safetensors the same factors under kohya's names with
the same alpha for each module: where they differ, diffusers 0.42 takes that of the most for some.
expected_*.safetensors holds the tensors that load_lora_weights and fuse_lora change, "unet." and "text_encoder." before
their names, all in float32.
"""

import os
import shutil
import sys
import tempfile

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "pipelines")
KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_"}


def fill(module, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)


def make_base():
    unet = UNet2DConditionModel(
        sample_size=4, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(4,),
        down_block_types=("CrossAttnDownBlock2D",), mid_block_type=None, up_block_types=("UpBlock2D",),
        norm_num_groups=2, cross_attention_dim=4, attention_head_dim=2)
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=6, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=5, projection_dim=4, bos_token_id=0, eos_token_id=1))
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=2, sample_size=4)
    for seed, module in enumerate((unet, text_encoder, vae)):
        fill(module, seed)
    return StableDiffusionPipeline(
        unet=unet, text_encoder=text_encoder, vae=vae, tokenizer=None, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def adapted(module, config, seed):
    module.add_adapter(config)
    generator = torch.Generator().manual_seed(seed)
    factors = get_peft_model_state_dict(module, adapter_name="default")
    return {name: torch.randn(factor.shape, generator=generator) / 4 for name, factor in sorted(factors.items())}


def metadata_of(module):
    config = module.peft_config["default"].to_dict()
    return {key: list(value) if isinstance(value, set) else value for key, value in config.items()}


def fused(folder, file):
    pipeline = StableDiffusionPipeline.from_pretrained(folder, tokenizer=None)
    before = {c: {k: v.clone() for k, v in getattr(pipeline, c).state_dict().items()} for c in KOHYA}
    pipeline.load_lora_weights(os.path.dirname(file), weight_name=os.path.basename(file))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    after = {c: getattr(pipeline, c).state_dict() for c in KOHYA}
    return {f"{c}.{k}": v for c in KOHYA for k, v in after[c].items() if not torch.equal(v, before[c][k])}


def under_kohyas_names(weights):
    renamed = {}
    for key, factor in weights.items():
        component, rest = key.split(".", 1)
        module, side = rest.rsplit(".lora_", 1)
        name = KOHYA[component] + module.replace(".", "_")
        renamed[name + (".lora_down.weight" if side.startswith("A") else ".lora_up.weight")] = factor
        renamed[name + ".alpha"] = torch.tensor(3.0)
    return renamed


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.join(folder, "base")
        make_base().save_pretrained(base)
        for component in KOHYA:
            shutil.copytree(os.path.join(base, component), os.path.join(OUT, "base", component))
        pipeline = StableDiffusionPipeline.from_pretrained(base, tokenizer=None)
        unet = LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_out.0", "proj_in", "conv1", "conv_out"],
                          rank_pattern={"conv_out": 1}, alpha_pattern={"to_q": 5})
        text = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "fc1"])
        layers = {"unet": adapted(pipeline.unet, unet, 11), "text_encoder": adapted(pipeline.text_encoder, text, 12)}
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=layers["unet"], text_encoder_lora_layers=layers["text_encoder"],
            unet_lora_adapter_metadata=metadata_of(pipeline.unet),
            text_encoder_lora_adapter_metadata=metadata_of(pipeline.text_encoder))
        written = os.path.join(folder, "pytorch_lora_weights.safetensors")
        with safe_open(written, "pt") as file:
            metadata = file.metadata()
        weights = load_file(written)
        save_golden(os.path.join(OUT, "diffusers.safetensors"), weights, metadata)
        save_golden(os.path.join(OUT, "kohya.safetensors"), under_kohyas_names(weights), {})
        for layout in ("diffusers", "kohya"):
            changed = fused(base, os.path.join(OUT, layout + ".safetensors"))
            assert changed
            save_golden(os.path.join(OUT, f"expected_{layout}.safetensors"), changed, {})


main()
