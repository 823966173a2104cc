"""Golden outputs of ResNet and ViT, made by `transformers`, and of the small ResNet, by a definition of our own.

Run: python make_image_models.py [OUTPUT_FILE]   (default: image_models.json beside this file)
With: Python 3.11, torch 2.11.0, transformers 4.57.3 (requirements-fusionbench.txt)

Weights and images are fusegrid's random numbers (`drawn`; the test draws the same by the same names), so the file has
configurations, names and shapes of the tensors, and outputs alone. All in float64 on the CPU.
"""

import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from random_numbers import derive_key, unit_number

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "image_models.json")


def uniform(name, shape):
    """Numbers in [-1, 1)."""
    key = derive_key(7, name)
    numbers = [2 * unit_number(key, 0, e) - 1 for e in range(math.prod(shape))]
    return torch.tensor(numbers, dtype=torch.float64).view(shape)


def drawn(name, shape):
    """The tensor of a name: that of the architecture, without the prefix of files with a head."""
    noise = uniform(name, shape)
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return 1 + 0.5 * noise
    if name.endswith("weight"):
        return noise * (3 / math.prod(shape[1:])) ** 0.5
    return 0.5 * noise


def images(size):
    """size: a side, or height and width."""
    return uniform("images", (2, 3, *(size if isinstance(size, list) else [size, size]))) * 2


def own_name(name):
    """A name in files -> that of the architecture."""
    for prefix in ("resnet.", "vit."):
        name = name.removeprefix(prefix)
    return name.replace("classifier.1.", "classifier.")


def fill(model):
    state = {}
    for name, value in model.state_dict().items():
        counts = name.endswith("num_batches_tracked")
        state[name] = value if counts else drawn(own_name(name), tuple(value.shape))
    model.double().load_state_dict(state)
    return model.eval()


def flat(tensor):
    """Its numbers to 13 digits: more would differ between processors."""
    return [float(f"{x:.13g}") for x in tensor.detach().reshape(-1).tolist()]


def batch_statistics(model, pixels):
    """Of each batch norm, the mean and unbiased variance of its input where all norms use the batch's own."""
    norms = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    for module in norms.values():
        module.train()
        module.momentum = 1
    output = model(pixels)
    return output, {own_name(name): [flat(module.running_mean), flat(module.running_var)]
                    for name, module in norms.items()}


def shapes(model):
    return {name: list(value.shape) for name, value in model.state_dict().items()
            if not name.endswith("num_batches_tracked")}


def keep_size(model, stages):
    """Stages that do not shrink their map but look as far as if they did: each such stage doubles the dilation of all
    that comes behind its own convolution of stride 2."""
    dilation = 1
    for stage in model.encoder.stages[-stages:]:
        for block in stage.layers:
            convolutions = [m for m in block.modules() if isinstance(m, torch.nn.Conv2d)]
            strided = any(each.stride == (2, 2) for each in convolutions)
            for each in convolutions:
                each.stride = (1, 1)
                if each.kernel_size == (3, 3):
                    each.dilation = each.padding = (dilation, dilation)
            dilation *= 2 if strided else 1


def resnet(model_class, size, output_stride=None, **options):
    config = ResNetConfig(**options)
    model = fill(model_class(config))
    if output_stride:
        keep_size(model, {8: 2, 16: 1}[output_stride])
        options["output_stride"] = output_stride
    pixels = images(size)
    output = model(pixels, output_hidden_states=True)
    case = {"config": {"model_type": "resnet", "image_size": size, **options}, "tensors": shapes(model),
            "features": flat(output.hidden_states[-1].mean((2, 3)))}
    if model_class is ResNetForImageClassification:
        case["config"]["num_labels"] = config.num_labels
        case["logits"] = flat(output.logits)
    if model_class is ResNetForImageClassification or output_stride:
        case["map"] = flat(output.hidden_states[-1].flatten(2).transpose(1, 2))
    else:
        assert torch.allclose(output.pooler_output.flatten(1), output.hidden_states[-1].mean((2, 3)), atol=1e-12)
    trained, case["batch_statistics"] = batch_statistics(model, pixels)
    if model_class is ResNetModel:
        case["features_of_batch"] = flat(trained.pooler_output)
    return case


def vit(model_class, **options):
    config = ViTConfig(**options)
    config._attn_implementation = "sdpa"  # the eager one takes its softmax in float32
    model = fill(model_class(config, add_pooling_layer=False) if model_class is ViTModel else model_class(config))
    output = model(images(config.image_size), output_hidden_states=True)
    hidden = model.base_model.layernorm(output.hidden_states[-1])
    case = {"config": {"model_type": "vit", **options}, "tensors": shapes(model), "map": flat(hidden),
            "features": flat(hidden[:, 0])}
    if model_class is ViTForImageClassification:
        case["config"]["num_labels"] = config.num_labels
        case["logits"] = flat(output.logits)
    else:
        assert torch.equal(output.last_hidden_state, hidden)
    return case


class SmallResNet:
    """ResNet-20 and its like as functions of named tensors: y = relu(f(x) + x), where x is mapped by a 1 x 1
    convolution with a norm if f changes its shape."""

    def __init__(self, config):
        self.config, self.weights, self.statistics = config, {}, {}

    def tensor(self, name, shape):
        return self.weights.setdefault(name, drawn(name, shape))

    def normed(self, name, x, by_batch):
        width = x.shape[1]
        scale, shift = self.tensor(name + ".weight", (width,)), self.tensor(name + ".bias", (width,))
        if self.config["norm"] == "layer":
            mean, variance = x.mean((1, 2, 3)), x.var((1, 2, 3), correction=0)
            x = (x - mean.view(-1, 1, 1, 1)) / (variance.view(-1, 1, 1, 1) + 1e-5).sqrt()
        else:
            mean = self.tensor(name + ".running_mean", (width,))
            variance = self.tensor(name + ".running_var", (width,))
            if by_batch:
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
                self.statistics[name] = [flat(mean), flat(x.var((0, 2, 3), correction=1))]
            x = (x - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + 1e-5).sqrt()
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    def unit(self, name, x, out, side, stride, dilation, by_batch):
        kernel = self.tensor(name + ".convolution.weight", (out, x.shape[1], side, side))
        x = F.conv2d(x, kernel, stride=stride, padding=dilation * (side // 2), dilation=dilation)
        return self.normed(name + ".normalization", x, by_batch)

    def __call__(self, x, by_batch=False):
        config = self.config
        x = F.relu(self.unit("embedder.embedder", x, config["hidden_sizes"][0], 3, config["stem_stride"], 1, by_batch))
        for stage, (width, depth) in enumerate(zip(config["hidden_sizes"], config["depths"])):
            dilation = config["dilations"][stage]
            for block in range(depth):
                name = f"encoder.stages.{stage}.layers.{block}."
                stride = 2 if stage > 0 and block == 0 and dilation == 1 else 1
                y = F.relu(self.unit(name + "layer.0", x, width, 3, stride, dilation, by_batch))
                y = self.unit(name + "layer.1", y, width, 3, 1, dilation, by_batch)
                if x.shape != y.shape:
                    x = self.unit(name + "shortcut", x, width, 1, stride, 1, by_batch)
                x = F.relu(x + y)
        return x


def small_resnet(size, **options):
    config = {"model_type": "resnet_cifar", "image_size": size, "stem_stride": 1,
              "dilations": [1] * len(options["depths"]), "norm": "batch", **options}
    model = SmallResNet(config)
    pixels = images(size)
    last = model(pixels)
    case = {"config": config, "features": flat(last.mean((2, 3))),
            "tensors": {name: list(value.shape) for name, value in model.weights.items()}}
    if config["norm"] == "batch":
        case["features_of_batch"] = flat(model(pixels, by_batch=True).mean((2, 3)))
        case["batch_statistics"] = model.statistics
    return case


def main():
    torch.set_num_threads(1)
    cases = {
        "resnet_basic": resnet(ResNetForImageClassification, 20, embedding_size=4, hidden_sizes=[4, 6], depths=[2, 1],
                               layer_type="basic", num_labels=3),
        "resnet_bottleneck": resnet(ResNetModel, 17, embedding_size=4, hidden_sizes=[8, 12], depths=[1, 2],
                                    layer_type="bottleneck"),
        "resnet_downsampling": resnet(ResNetModel, 24, embedding_size=4, hidden_sizes=[8, 8], depths=[2, 1],
                                      layer_type="bottleneck", downsample_in_first_stage=True,
                                      downsample_in_bottleneck=True),
        "resnet_dilated": resnet(ResNetModel, [32, 40], output_stride=8, embedding_size=4, hidden_sizes=[8, 8, 12, 12],
                                 depths=[1, 1, 2, 2], layer_type="bottleneck"),
        "vit_classifier": vit(ViTForImageClassification, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
                              num_attention_heads=2, image_size=7, patch_size=3, num_labels=3),
        "vit_without_biases": vit(ViTModel, hidden_size=12, intermediate_size=10, num_hidden_layers=1,
                                  num_attention_heads=3, image_size=8, patch_size=4, qkv_bias=False,
                                  layer_norm_eps=1e-3, hidden_act="gelu_new"),
        "small_resnet": small_resnet(9, hidden_sizes=[4, 6, 8], depths=[2, 1, 1], stem_stride=2),
        "small_resnet_layer_norm": small_resnet(8, hidden_sizes=[4, 4, 6], depths=[1, 1, 1], norm="layer"),
        "small_resnet_dilated": small_resnet(12, hidden_sizes=[4, 6, 8], depths=[1, 1, 2], stem_stride=2,
                                             dilations=[1, 1, 2]),
    }
    with open(OUT, "w") as out:
        lines = []
        for name, case in cases.items():
            fields = ",\n  ".join(json.dumps(k) + ": " + json.dumps(v, separators=(",", ":")) for k, v in case.items())
            lines.append(json.dumps(name) + ": {\n  " + fields + "\n }")
        out.write("{\n " + ",\n ".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
