"""Models and data sets in the layouts in which they are published, small and with random weights."""

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WIDTH, MLP, LAYERS, PIXELS, PATCH, EMBEDDING = 16, 32, 2, 24, 8, 12
TEXT_WIDTH, TEXT_POSITIONS = 8, 40
CLASSES = {"digits": ["zero", "one", "two"], "pets": ["cat", "dog"]}
PROMPTS = {
    "tasks": {
        name: {"classes": classes, "templates": ["a photo of a {}.", "a photo of the {}, it is a {}."]}
        for name, classes in CLASSES.items()
    }
}


def random(name):
    return np.random.default_rng(list(name.encode()))


def cache(root, kind, name, files, revision="1" * 40):
    """A repository in a hub cache: snapshots/<revision> of links into blobs. files: path -> bytes."""
    repository = root / f"{kind}--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(revision)
    (repository / "blobs").mkdir()
    for path, content in files.items():
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = snapshot / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def saved(tensors, folder):
    path = folder / "temporary.safetensors"
    save_file({name: np.array(each, order="C") for name, each in tensors.items()}, path, {"format": "pt"})
    content = path.read_bytes()
    path.unlink()
    return content


def as_json(value):
    return json.dumps(value).encode()


# ---- CLIP ------------------------------------------------------------------------------------------------------------


def encoder_shapes(prefix, width, mlp, layers):
    shapes = {}
    for i in range(layers):
        layer = f"{prefix}encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{layer}self_attn.{name}.weight": (width, width), f"{layer}self_attn.{name}.bias": (width,)}
        shapes |= {f"{layer}mlp.fc1.weight": (mlp, width), f"{layer}mlp.fc1.bias": (mlp,)}
        shapes |= {f"{layer}mlp.fc2.weight": (width, mlp), f"{layer}mlp.fc2.bias": (width,)}
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{layer}{name}.weight": (width,), f"{layer}{name}.bias": (width,)}
    return shapes


def vision_shapes(prefix, patch=PATCH):
    norms = {f"{prefix}{n}.{p}": (WIDTH,) for n in ("pre_layrnorm", "post_layernorm") for p in ("weight", "bias")}
    return norms | encoder_shapes(prefix, WIDTH, MLP, LAYERS) | {
        f"{prefix}embeddings.class_embedding": (WIDTH,),
        f"{prefix}embeddings.patch_embedding.weight": (WIDTH, 3, patch, patch),
        f"{prefix}embeddings.position_embedding.weight": ((PIXELS // patch) ** 2 + 1, WIDTH),
    }  # fmt: skip


def drawn(shapes, name):
    stream = random(name)
    return {
        each: (stream.normal(size=shape) * 0.3 + (each.endswith("weight") and "norm" in each)).astype(np.float32)
        for each, shape in shapes.items()
    }


def byte_pairs(words, special=(), end=""):
    """Byte-level BPE whose pieces are the bytes and the beginnings of the words; nothing is trained, since what
    training finds depends on more than the texts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict.fromkeys([*special, *alphabet, *(letter + end for letter in alphabet)])
    merges = {}
    for word in words:
        parts = [*word[:-1], word[-1] + end]
        while len(parts) > 1:
            merges[tuple(parts[:2])] = None
            parts[:2] = ["".join(parts[:2])]
            vocabulary[parts[0]] = None
    ids = {name: i for i, name in enumerate(vocabulary)}
    return Tokenizer(models.BPE(ids, list(merges), **({"end_of_word_suffix": end} if end else {})))


def clip_tokenizer():
    """CLIP's: small letters, byte-level pieces that mark the ends of words."""
    tokenizer = byte_pairs(["photo", "the", "of", "zero", "cat", "is"], end="</w>")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    marks = [(name, tokenizer.token_to_id(name)) for name in ("<|startoftext|>", "<|endoftext|>")]
    tokenizer.post_processor = processors.TemplateProcessing("<|startoftext|> $A <|endoftext|>", special_tokens=marks)
    tokenizer.enable_padding(length=TEXT_POSITIONS)  # as published files may have it; rows are read without
    return tokenizer


def clip_vision_config(patch=PATCH):
    return {
        "model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"], "hidden_size": WIDTH,
        "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "patch_size": patch,
        "image_size": PIXELS, "projection_dim": EMBEDDING, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    }  # fmt: skip


def clip_base_files(folder):
    tokenizer = clip_tokenizer()
    shapes = vision_shapes("vision_model.") | encoder_shapes("text_model.", TEXT_WIDTH, 2 * TEXT_WIDTH, LAYERS) | {
        "text_model.embeddings.token_embedding.weight": (tokenizer.get_vocab_size(), TEXT_WIDTH),
        "text_model.embeddings.position_embedding.weight": (TEXT_POSITIONS, TEXT_WIDTH),
        "text_model.final_layer_norm.weight": (TEXT_WIDTH,), "text_model.final_layer_norm.bias": (TEXT_WIDTH,),
        "visual_projection.weight": (EMBEDDING, WIDTH), "text_projection.weight": (EMBEDDING, TEXT_WIDTH),
    }  # fmt: skip
    weights = drawn(shapes, "base") | {"logit_scale": np.array(4.6, np.float32)}
    end = tokenizer.token_to_id("<|endoftext|>")
    text = {
        "vocab_size": tokenizer.get_vocab_size(), "hidden_size": TEXT_WIDTH, "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": 2, "max_position_embeddings": TEXT_POSITIONS,
        "projection_dim": EMBEDDING, "bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end,
    }  # fmt: skip
    config = {
        "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": EMBEDDING,
        "vision_config": clip_vision_config() | {"model_type": "clip_vision_model"}, "text_config": text,
    }  # fmt: skip
    processor = {
        "crop_size": {"height": PIXELS, "width": PIXELS}, "size": {"shortest_edge": PIXELS}, "resample": 3,
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_resize": True,
        "image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    return {
        "config.json": as_json(config), "model.safetensors": saved(weights, folder),
        "preprocessor_config.json": as_json(processor), "tokenizer.json": tokenizer.to_str().encode(),
    }  # fmt: skip


def clip_expert_files(folder, name, prefix="vision_model.", patch=PATCH):
    """As transformers writes them: before 5 with the prefix."""
    base = {
        f"{prefix}{n.removeprefix('vision_model.')}": w
        for n, w in drawn(vision_shapes("vision_model.", patch), "x").items()
    }
    moved = drawn({each: w.shape for each, w in base.items()}, name)
    return {"config.json": as_json(clip_vision_config(patch)), "model.safetensors": saved(moved, folder)}


def clip_adapter_files(folder, name, base="openai/clip-vit-tiny"):
    """Attached to CLIPVisionTransformer, so that its names lack the tower's prefix."""
    config = {
        "peft_type": "LORA", "base_model_name_or_path": base, "r": 2, "lora_alpha": 4, "bias": "none",
        "target_modules": ["q_proj", "v_proj"], "auto_mapping": {"base_model_class": "CLIPVisionTransformer"},
    }  # fmt: skip
    shapes = {}
    for module in (f"encoder.layers.{i}.self_attn.{n}_proj" for i in range(LAYERS) for n in "qv"):
        shapes[f"base_model.model.{module}.lora_A.weight"] = (2, WIDTH)
        shapes[f"base_model.model.{module}.lora_B.weight"] = (WIDTH, 2)
    return {"adapter_config.json": as_json(config), "adapter_model.safetensors": saved(drawn(shapes, name), folder)}


def picture(name):
    """Wider or higher, in colours or gray."""
    stream = random(name)
    width, height = (int(n) for n in stream.integers(20, 60, 2))
    gray = stream.integers(2) == 0
    pixels = stream.integers(0, 256, (height, width) if gray else (height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def encoded(image):
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def image_rows(task, split, count):
    classes = len(CLASSES[task])
    return [
        {"image": {"bytes": encoded(picture(f"{task}/{split}/{i}")), "path": f"{i}.png"}, "label": i % classes}
        for i in range(count)
    ]


def parquet(rows, names=None):
    """As data sets of HuggingFace are: their features in the schema's metadata."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(rows)
    features = {name: {"_type": "Value"} for name in rows[0]}
    if names:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()


def parquet_files(splits, names=None, shards=1):
    files = {}
    for split, rows in splits.items():
        for k in range(shards):
            files[f"data/{split}-{k:05}-of-{shards:05}.parquet"] = parquet(rows[k::shards], names)
    return files


def clip_world(root):
    """Two data sets in a hub cache, a base and two experts; returns the suite's content."""
    hub = root / "hub"
    hub.mkdir(parents=True)
    cache(hub, "models", "openai/clip-vit-tiny", clip_base_files(root))
    cache(hub, "models", "me/clip-vit-tiny_digits", clip_expert_files(root, "digits"))
    cache(hub, "models", "me/clip-vit-tiny_pets", clip_expert_files(root, "pets", prefix=""))
    digits = {split: image_rows("digits", split, n) for split, n in (("train", 30), ("test", 14))}
    cache(hub, "datasets", "me/digits", parquet_files(digits, CLASSES["digits"], shards=2))
    for split, count in (("train", 20), ("validation", 6), ("test", 8)):
        for i, row in enumerate(image_rows("pets", split, count)):
            path = root / "pets" / split / CLASSES["pets"][row["label"]] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
    return {
        "suite": "two", "base": "openai/clip-vit-{size}", "expert": "me/clip-vit-{size}_{task}",
        "tasks": {
            "digits": {"data": "me/digits", "counts": {"train": 30, "test": 14}},
            "pets": {"data": "pets"},
        },
    }  # fmt: skip
