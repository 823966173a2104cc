"""ViT and ResNet classifiers in the layouts of transformers, small and with random weights, and their data sets."""

import numpy as np

from import_world import CLASSES, PIXELS, as_json, cache, drawn, image_rows, parquet_files, random, saved

WIDTH, MLP, PATCH = 16, 24, 8
CHANNELS = {"stem": 4, "stages": [8, 12]}


def vit_files(folder, name, labels):
    config = {
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": WIDTH,
        "intermediate_size": MLP, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": PIXELS,
        "patch_size": PATCH,
    }  # fmt: skip
    layer = "vit.encoder.layer.0."
    shapes = {
        "vit.embeddings.cls_token": (1, 1, WIDTH),
        "vit.embeddings.position_embeddings": (1, (PIXELS // PATCH) ** 2 + 1, WIDTH),
        "vit.embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "vit.embeddings.patch_embeddings.projection.bias": (WIDTH,),
    }
    for module, (out, into) in {
        "attention.attention.query": (WIDTH, WIDTH), "attention.attention.key": (WIDTH, WIDTH),
        "attention.attention.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (MLP, WIDTH), "output.dense": (WIDTH, MLP),
    }.items():  # fmt: skip
        shapes |= {f"{layer}{module}.weight": (out, into), f"{layer}{module}.bias": (out,)}
    for norm in (f"{layer}layernorm_before", f"{layer}layernorm_after", "vit.layernorm"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    processor = {
        "image_processor_type": "ViTImageProcessor", "size": {"height": PIXELS, "width": PIXELS}, "resample": 2,
        "do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": None,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    return _files(folder, name, config, processor, drawn(shapes, name), "classifier", WIDTH, labels)


def resnet_files(folder, name, labels):
    config = {
        "model_type": "resnet", "architectures": ["ResNetForImageClassification"], "embedding_size": CHANNELS["stem"],
        "hidden_sizes": CHANNELS["stages"], "depths": [1, 1], "layer_type": "basic", "image_size": PIXELS,
    }  # fmt: skip
    stem, (first, second) = CHANNELS["stem"], CHANNELS["stages"]
    weights = {}

    def unit(module, out, into, side):
        shapes = {f"{module}.convolution.weight": (out, into, side, side)}
        shapes |= {f"{module}.normalization.{part}": (out,) for part in ("weight", "bias", "running_mean")}
        weights.update(drawn(shapes, name))
        weights[f"{module}.normalization.running_var"] = random(name).uniform(0.5, 2, out).astype(np.float32)
        weights[f"{module}.normalization.num_batches_tracked"] = np.array(7)

    unit("resnet.embedder.embedder", stem, 3, 7)
    for stage, (out, into) in enumerate([(first, stem), (second, first)]):
        layer = f"resnet.encoder.stages.{stage}.layers.0"
        unit(f"{layer}.shortcut", out, into, 1)
        unit(f"{layer}.layer.0", out, into, 3)
        unit(f"{layer}.layer.1", out, out, 3)
    processor = {
        "feature_extractor_type": "ConvNextFeatureExtractor", "size": PIXELS, "crop_pct": 0.875, "resample": 3,
        "do_resize": True, "do_normalize": True, "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    return _files(folder, name, config, processor, weights, "classifier.1", second, labels)


def _files(folder, name, config, processor, weights, head, features, labels):
    weights |= drawn({f"{head}.weight": (len(labels), features), f"{head}.bias": (len(labels),)}, f"{name}/head")
    config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return {
        "config.json": as_json(config), "model.safetensors": saved(weights, folder),
        "preprocessor_config.json": as_json(processor),
    }  # fmt: skip


def image_world(root, files):
    """Two data sets, a base of 7 classes and an expert for each; files: of this module. Returns the suite's content."""
    hub = root / "hub"
    hub.mkdir(parents=True)
    cache(hub, "models", "big/base", files(root, "base", [f"class {i}" for i in range(7)]))
    for task, classes in CLASSES.items():
        cache(hub, "models", f"me/{task}", files(root, task, classes))
    digits = {split: image_rows("digits", split, n) for split, n in (("train", 30), ("test", 14))}
    cache(hub, "datasets", "me/digits", parquet_files(digits, CLASSES["digits"]))
    for split, count in (("train", 20), ("validation", 6), ("test", 8)):
        for i, row in enumerate(image_rows("pets", split, count)):
            path = root / "pets" / split / CLASSES["pets"][row["label"]] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
    return {
        "suite": "two", "scale": "tiny", "base": "big/base", "expert": "me/{task}",
        "tasks": {"digits": {"data": "me/digits"}, "pets": {"data": "pets"}},
    }  # fmt: skip
