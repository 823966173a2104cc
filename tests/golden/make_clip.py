"""Golden CLIP checkpoints and outputs, made by `transformers`.

Run: python make_clip.py [OUTPUT_FOLDER]   (default: clip/ beside this file)

Each case is a folder in the layout of save_pretrained (config.json and
model.safetensors, or shards with an index) plus expected.safetensors. All in
float32 on the CPU with the eager attention; the names that end in _float64 are
the same weights evaluated in float64 (sdpa attention), to judge rounding against.
"""

import copy
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "clip")

PLAIN = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2,
             num_attention_heads=2, image_size=12, patch_size=4, projection_dim=8,
             hidden_act="quick_gelu")
SHARDED = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3,
               num_attention_heads=3, image_size=15, patch_size=5, projection_dim=10,
               hidden_act="gelu")
# 18 is not a multiple of 8: the patch convolution leaves two rows and columns out.
UNEVEN = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=1,
              num_attention_heads=4, image_size=18, patch_size=8, projection_dim=7,
              hidden_act="quick_gelu", layer_norm_eps=1e-3)
FULL_VISION = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                   num_attention_heads=4, image_size=8, patch_size=4,
                   hidden_act="quick_gelu")
FULL_TEXT = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2,
                 num_attention_heads=3, vocab_size=40, max_position_embeddings=9,
                 hidden_act="quick_gelu", bos_token_id=38, eos_token_id=39,
                 pad_token_id=39)
GRADIENT_WEIGHTS = (
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.pre_layrnorm.weight",
    "vision_model.encoder.layers.0.self_attn.q_proj.weight",
    "vision_model.encoder.layers.1.mlp.fc1.weight",
)


def initialise(model, seed):
    """Weights large enough that every part of the network changes the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight") or "layer_norm" in name or "layrnorm" in name:
            parameter.data = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif name == "logit_scale":
            parameter.data = torch.tensor(2.0)
        elif parameter.dim() >= 2 and "embedding" not in name:
            parameter.data = noise / parameter[0].numel() ** 0.5
        elif "patch_embedding" in name:
            parameter.data = 2 * noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.3 * noise
    return model.eval(), generator


def vision_outputs(model, pixels):
    """pooled (before the projection), last hidden state, and projected if there is one."""
    pixels = pixels.to(next(model.parameters()).dtype)
    hidden = model.vision_model(pixel_values=pixels)
    outputs = dict(pooled=hidden.pooler_output, last_hidden_state=hidden.last_hidden_state)
    if hasattr(model, "visual_projection"):
        outputs["projected"] = model(pixel_values=pixels).image_embeds
    return outputs


def with_float64(model, pixels):
    outputs = vision_outputs(model, pixels)
    exact_model = copy.deepcopy(model).double()
    # The eager attention takes its softmax in float32 whatever the model's dtype.
    exact_model.set_attn_implementation("sdpa")
    exact = vision_outputs(exact_model, pixels)
    for name in ("pooled", "projected"):
        if name in exact:
            outputs[name + "_float64"] = exact[name]
    return outputs


def taps(model, pixels):
    """The input of every linear layer of the encoder, and of the projection."""
    seen, handles = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            def keep(_, inputs, name=name):
                seen["tap/" + name] = inputs[0].detach().clone()
            handles.append(module.register_forward_pre_hook(keep))
    model(pixel_values=pixels)
    for handle in handles:
        handle.remove()
    return seen


def gradients(model, pixels, probe):
    """d sum(pooled * probe) / d W for the named weights."""
    model.zero_grad()
    (model.vision_model(pixel_values=pixels).pooler_output * probe).sum().backward()
    named = dict(model.named_parameters())
    result = {"gradient/" + n: named[n].grad.clone() for n in GRADIENT_WEIGHTS}
    model.zero_grad()
    return result


def fresh_folder(case):
    folder = os.path.join(OUT, case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def save_expected(folder, tensors, model, **extra):
    metadata = dict(package="transformers 4.57.3", original=type(model).__name__,
                    attention="eager", dtype="float32", **extra)
    tensors = {name: value.detach() for name, value in tensors.items()}
    save_golden(os.path.join(folder, "expected.safetensors"), tensors, metadata)


def make_vision(case, model_class, options, seed, shard_size="1GB", details=False):
    config = CLIPVisionConfig(**options)
    config._attn_implementation = "eager"
    model, generator = initialise(model_class(config), seed)
    size = options["image_size"]
    pixels = torch.randn(3, 3, size, size, generator=generator)
    tensors = {"pixel_values": pixels, **with_float64(model, pixels)}
    if details:
        tensors.update(taps(model, pixels))
        tensors["probe"] = torch.randn(3, options["hidden_size"], generator=generator)
        tensors.update(gradients(model, pixels, tensors["probe"]))
    folder = fresh_folder(case)
    model.save_pretrained(folder, max_shard_size=shard_size)
    extra = dict(gradient="d sum(pooled * probe) / d weight") if details else {}
    save_expected(folder, tensors, model, **extra)
    reloaded = model_class.from_pretrained(folder, attn_implementation="eager")
    again = vision_outputs(reloaded, pixels)["pooled"]
    assert torch.equal(again, tensors["pooled"]), case


def add_position_ids(folder):
    """Published CLIP checkpoints hold integer position_ids that newer code drops."""
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    for tower in ("text_model", "vision_model"):
        rows = tensors[f"{tower}.embeddings.position_embedding.weight"].shape[0]
        tensors[f"{tower}.embeddings.position_ids"] = torch.arange(rows).reshape(1, rows)
    save_file(tensors, path, metadata={"format": "pt"})


def make_full(case, seed):
    config = CLIPConfig(text_config=FULL_TEXT, vision_config=FULL_VISION,
                        projection_dim=10)
    config._attn_implementation = "eager"
    model, generator = initialise(CLIPModel(config), seed)
    pixels = torch.randn(3, 3, 8, 8, generator=generator)
    tokens = torch.randint(0, 38, (4, 9), generator=generator)
    tokens[:, 0] = FULL_TEXT["bos_token_id"]
    for row, end in enumerate((3, 5, 8, 4)):  # the end token repeats as padding
        tokens[row, end:] = FULL_TEXT["eos_token_id"]
    mask = torch.ones_like(tokens)
    output = model(input_ids=tokens, pixel_values=pixels, attention_mask=mask)
    tensors = dict(
        pixel_values=pixels,
        pooled=output.vision_model_output.pooler_output,
        projected=model.get_image_features(pixel_values=pixels),
        input_ids=tokens,
        text_features=model.get_text_features(input_ids=tokens, attention_mask=mask),
        logits_per_image=output.logits_per_image,
    )
    folder = fresh_folder(case)
    model.save_pretrained(folder)
    add_position_ids(folder)
    save_expected(folder, tensors, model,
                  projected="get_image_features, before any normalisation")
    reloaded = CLIPModel.from_pretrained(folder, attn_implementation="eager")
    assert torch.equal(reloaded.get_image_features(pixels), tensors["projected"])


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make_vision("vision_quick_gelu", CLIPVisionModel, PLAIN, seed=1, details=True)
    make_vision("vision_projection_gelu_sharded", CLIPVisionModelWithProjection, SHARDED,
                seed=2, shard_size="24KB")
    make_vision("vision_projection_uneven", CLIPVisionModelWithProjection, UNEVEN, seed=3)
    make_full("clip_full", seed=4)


if __name__ == "__main__":
    main()
