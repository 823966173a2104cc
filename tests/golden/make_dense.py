"""Golden answers of the kinds of task whose answers are maps, and of the decoder of dense tasks, by loops over pixels.

Run: tools/data_python tests/golden/make_dense.py [OUTPUT]   (default: dense.json beside this file)
With: Python 3.11, numpy 2.4.6 (tools/requirements-data.txt)

Every number is derived from its definition, pixel by pixel in float64: the metrics of segmentation from one confusion
matrix, those of depths and normals from lists of all pixels that are known. The decoder is a convolution, a batch norm,
ReLU, a linear map at each position, and bilinear interpolation between the centres of pixels, without any library's.
Inputs are multiples of 1/8, so that they are exact in every format.
"""

import json
import math
import os
import sys

import numpy as np

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "dense.json")
EXAMPLES, HEIGHT, WIDTH = 3, 3, 4
CLASSES, IGNORE = 4, 9
MEAN, SD = 2.5, 0.75


def eighths(rng, shape, low=-16, high=16):
    return rng.integers(low, high + 1, shape) / 8


def pixels():
    return [(i, y, x) for i in range(EXAMPLES) for y in range(HEIGHT) for x in range(WIDTH)]


def mean_of_examples(values, counting):
    """Mean over each example's pixels that count."""
    return [float(values[i][counting[i]].mean()) if counting[i].any() else 0.0 for i in range(EXAMPLES)]


def segment(rng):
    logits = eighths(rng, (EXAMPLES, HEIGHT, WIDTH, CLASSES))
    classes = rng.integers(0, CLASSES - 1, (EXAMPLES, HEIGHT, WIDTH))  # the last class is predicted, but nowhere true
    classes[rng.random(classes.shape) < 0.25] = IGNORE
    confusion = np.zeros((CLASSES, CLASSES))
    losses = np.zeros(classes.shape)
    for p in pixels():
        if classes[p] != IGNORE:
            confusion[classes[p], int(logits[p].argmax())] += 1
            losses[p] = math.log(sum(math.exp(z) for z in logits[p])) - logits[p][classes[p]]
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return {
        "output": logits.tolist(),
        "maps": classes.tolist(),
        "losses": mean_of_examples(losses, classes != IGNORE),
        "mean_iou": float(np.mean([confusion[k, k] / union[k] for k in range(CLASSES) if union[k] > 0])),
        "pixel_accuracy": float(confusion.trace() / confusion.sum()),
    }


def depth(rng):
    output = eighths(rng, (EXAMPLES, HEIGHT, WIDTH, 1))
    depths = eighths(rng, (EXAMPLES, HEIGHT, WIDTH), 4, 40)
    known = rng.random(depths.shape) < 0.75
    errors = [abs(output[p][0] * SD + MEAN - depths[p]) for p in pixels() if known[p]]
    shares = [abs(output[p][0] * SD + MEAN - depths[p]) / depths[p] for p in pixels() if known[p]]
    return {
        "output": output.tolist(),
        "maps": np.where(known, depths, -1).tolist(),  # -1: not known
        "losses": mean_of_examples(np.abs(output[..., 0] - (depths - MEAN) / SD), known),
        "absolute_error": float(np.mean(errors)),
        "relative_error": float(np.mean(shares)),
    }


def normals(rng):
    vectors = eighths(rng, (EXAMPLES, 3, HEIGHT, WIDTH)) + np.array([0.0625, 0, 0])[:, None, None]  # none is 0
    units = (vectors / np.sqrt((vectors**2).sum(1, keepdims=True))).astype(np.float32).astype(float)
    output = eighths(rng, (EXAMPLES, HEIGHT, WIDTH, 3)) / 2 + 2 * units.transpose(0, 2, 3, 1)
    output = output.astype(np.float32).astype(float)
    known = rng.random((EXAMPLES, HEIGHT, WIDTH)) < 0.75
    cosine = np.zeros(known.shape)
    for i, y, x in pixels():
        a, b = output[i, y, x], units[i, :, y, x]
        cosine[i, y, x] = sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))
    angles = [math.degrees(math.acos(max(-1.0, min(1.0, cosine[p])))) for p in pixels() if known[p]]
    return {
        "output": output.tolist(),
        "maps": units.tolist(),
        "known": known.tolist(),
        "losses": mean_of_examples(1 - cosine, known),
        "mean_angle": float(np.mean(angles)),
        "within_11": float(np.mean([angle < 11.25 for angle in angles])),
    }


def convolved(x, kernel, dilation=1):
    """x [channels, height, width], zeros around it."""
    out, _, k, _ = kernel.shape
    (height, width), pad = x.shape[1:], k // 2
    y = np.zeros((out, height, width))
    for o in range(out):
        for r in range(height):
            for c in range(width):
                for i in range(k):
                    for j in range(k):
                        a, b = r + dilation * (i - pad), c + dilation * (j - pad)
                        if 0 <= a < height and 0 <= b < width:
                            y[o, r, c] += kernel[o, :, i, j] @ x[:, a, b]
    return y


def interpolated(x, factor):
    """x [side, side]: its value at the centres of factor x factor parts of each pixel; edges go on as they are."""
    side = x.shape[0]

    def weights(p):
        at = max(0.0, (p + 0.5) / factor - 0.5)
        low = min(int(at), side - 1)
        return low, min(low + 1, side - 1), at - low

    y = np.zeros((side * factor, side * factor))
    for r in range(side * factor):
        for c in range(side * factor):
            r0, r1, v = weights(r)
            c0, c1, u = weights(c)
            y[r, c] = (x[r0, c0] * (1 - u) + x[r0, c1] * u) * (1 - v) + (x[r1, c0] * (1 - u) + x[r1, c1] * u) * v
    return y


def decoder(rng):
    channels, hidden, outputs, side, factor = 3, 2, 2, 3, 4
    t = {
        "conv.weight": eighths(rng, (hidden, channels, 3, 3)),
        "norm.weight": eighths(rng, (hidden,), 4, 16),
        "norm.bias": eighths(rng, (hidden,)),
        "norm.running_mean": eighths(rng, (hidden,)),
        "norm.running_var": eighths(rng, (hidden,), 4, 16),
        "weight": eighths(rng, (outputs, hidden, 1, 1)),
        "bias": eighths(rng, (outputs,)),
    }
    features = eighths(rng, (2, side, side, channels))  # channels last, as models make them

    def answer(mean, variance):
        maps = []
        for i in range(2):
            x = convolved(features[i].transpose(2, 0, 1), t["conv.weight"])
            x = (x - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
            x = np.maximum(0, x * t["norm.weight"][:, None, None] + t["norm.bias"][:, None, None])
            z = np.einsum("oh,hrc->orc", t["weight"][:, :, 0, 0], x) + t["bias"][:, None, None]
            maps.append(np.stack([interpolated(each, factor) for each in z], -1))
        return np.stack(maps)

    hidden_maps = np.stack([convolved(f.transpose(2, 0, 1), t["conv.weight"]) for f in features], 1).reshape(hidden, -1)
    mean, variance = hidden_maps.mean(1), hidden_maps.var(1)
    return {
        "tensors": {name: tensor.tolist() for name, tensor in t.items()},
        "features": features.reshape(2, side * side, channels).tolist(),
        "factor": factor,
        "output": answer(t["norm.running_mean"], t["norm.running_var"]).round(6).tolist(),
        "batch_mean": mean.round(6).tolist(),
        "batch_variance": hidden_maps.var(1, ddof=1).round(6).tolist(),  # unbiased, as running statistics are
        "of_batch": answer(mean, variance).round(6).tolist(),
    }


def between_corners(x, height, width):
    """x [h, w] -> [height, width]: corners stay corners."""
    y = np.zeros((height, width))
    for r in range(height):
        for c in range(width):
            v, u = r * (x.shape[0] - 1) / (height - 1), c * (x.shape[1] - 1) / (width - 1)
            r0, c0 = min(int(v), x.shape[0] - 2), min(int(u), x.shape[1] - 2)
            v, u = v - r0, u - c0
            y[r, c] = (x[r0, c0] * (1 - u) + x[r0, c0 + 1] * u) * (1 - v) + (
                x[r0 + 1, c0] * (1 - u) + x[r0 + 1, c0 + 1] * u
            ) * v
    return y


def deeplab(rng):
    """Branches side by side, each a kernel, a batch norm and ReLU, under another of all and one of 3 x 3."""
    channels, hidden, outputs, dilations, (rows, columns) = 3, 2, 2, (1, 3), (3, 4)
    height, width = 5, 9
    kernels = {"aspp.0": (channels, 1), **{f"aspp.{d}": (channels, 3) for d in dilations}, "pool": (channels, 1),
               "project": (4 * hidden, 1), "conv": (hidden, 3)}  # fmt: skip
    t = {}
    for name, (read, side) in kernels.items():
        norm = "norm" if name == "conv" else f"{name}.norm"
        t[f"{name}.weight"] = eighths(rng, (hidden, read, side, side), -8, 8)
        t |= {f"{norm}.weight": eighths(rng, (hidden,), 4, 16), f"{norm}.bias": eighths(rng, (hidden,))}
        t |= {f"{norm}.running_mean": eighths(rng, (hidden,)), f"{norm}.running_var": eighths(rng, (hidden,), 4, 16)}
    t |= {"weight": eighths(rng, (outputs, hidden)), "bias": eighths(rng, (outputs,))}
    features = eighths(rng, (2, rows, columns, channels))

    def unit(name, x, dilation=1):
        norm = "norm" if name == "conv" else f"{name}.norm"
        y = convolved(x, t[f"{name}.weight"], dilation)
        scale = t[f"{norm}.weight"] / np.sqrt(t[f"{norm}.running_var"] + 1e-5)
        shift = t[f"{norm}.bias"] - t[f"{norm}.running_mean"] * scale
        return np.maximum(0, y * scale[:, None, None] + shift[:, None, None])

    maps = []
    for each in features:
        x = each.transpose(2, 0, 1)
        branches = [unit("aspp.0", x), *(unit(f"aspp.{d}", x, d) for d in dilations)]
        pooled = unit("pool", x.mean((1, 2), keepdims=True))
        branches.append(np.broadcast_to(pooled, (hidden, rows, columns)))
        y = unit("conv", unit("project", np.concatenate(branches)))
        z = np.einsum("oh,hrc->orc", t["weight"], y) + t["bias"][:, None, None]
        maps.append(np.stack([between_corners(one, height, width) for one in z], -1))
    return {
        "tensors": {name: tensor.tolist() for name, tensor in t.items()},
        "features": features.reshape(2, rows * columns, channels).tolist(),
        "positions": [rows, columns],
        "pixels": [height, width],
        "output": np.stack(maps).round(6).tolist(),
    }


def main():
    rng = np.random.default_rng(7)
    golden = {"segment": segment(rng), "depth": depth(rng), "normals": normals(rng), "decoder": decoder(rng)}
    golden["deeplab"] = deeplab(rng)
    with open(OUT, "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
