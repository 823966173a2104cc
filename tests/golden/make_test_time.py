"""Writes golden values of test-time methods that FusionBench has not got, by separate computations in torch.

AdaMerging++ is computed on the backbone and the batches of adamerging__{layer,task}_wise: task vectors trimmed and
elected by sorting, coefficients by autograd through the merged weights, torch's Adam. Only what it changes is written.

usage: make_test_time.py [FOLDER]
"""

import json
import struct
import sys

import torch
from golden_io import canonical, save_golden

torch.set_default_dtype(torch.float64)
DENSITY = 0.2


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            assert info["dtype"] == "F64", info
            values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float64)
            tensors[name] = values.reshape(info["shape"])
    return tensors


def under(tensors, prefix):
    return {
        name[len(prefix) + 1 :]: value
        for name, value in tensors.items()
        if name.startswith(prefix + "/")
    }


def elected(taus):
    """Trims each task vector over the whole model, and zeroes the entries that lose the election of their sign."""
    names = sorted(taus[0])
    rows = torch.stack([torch.cat([t[n].reshape(-1) for n in names]) for t in taus])
    elements = rows.shape[1]
    dropped = elements - int(elements * DENSITY)
    for row in rows:
        threshold = row.abs().sort().values[dropped - 1]
        row[row.abs() < threshold] = 0
    sign = rows.sum(0).sign()
    majority = sign.sum().sign()
    sign[sign == 0] = majority
    for row in rows:
        row[torch.where(sign > 0, row <= 0, row >= 0)] = 0
    result = []
    for row in rows:
        parts = row.split([taus[0][n].numel() for n in names])
        result.append({n: p.reshape(taus[0][n].shape) for n, p in zip(names, parts)})
    return result


def adapt(golden, layer_wise):
    base = under(golden, "base")
    names = sorted(base)
    heads = under(golden, "head")
    batches = under(golden, "batches")
    taus = []
    for i in range(len(heads)):
        expert = under(golden, f"expert{i}")
        taus.append({n: (expert[n] - base[n]).clone() for n in names})
    taus = elected(taus)
    shape = (len(taus), len(names)) if layer_wise else (len(taus), 1)
    lambdas = torch.full(shape, 0.3, requires_grad=True)

    def merged():
        return {
            n: base[n]
            + sum(lambdas[i, j if layer_wise else 0] * taus[i][n] for i in range(len(taus)))
            for j, n in enumerate(names)
        }

    adam = torch.optim.Adam([lambdas], lr=1e-3)
    for step in range(5):
        theta = merged()
        loss = 0
        for task, head in heads.items():
            x = batches[task][step]
            hidden = torch.relu(x @ theta["fc1.weight"].T + theta["fc1.bias"])
            logits = (hidden @ theta["fc2.weight"].T + theta["fc2.bias"]) @ head.T
            log_p = logits.log_softmax(1)
            loss = loss - (log_p.exp() * log_p).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        return lambdas.detach(), merged()


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "methods"
    for kind in ["layer_wise", "task_wise"]:
        golden = read(f"methods/adamerging__{kind}.safetensors")
        lambdas, merged = adapt(golden, kind == "layer_wise")
        tensors = {f"merged/{name}": value for name, value in merged.items()}
        tensors["coefficients/last"] = lambdas
        save_golden(
            f"{folder}/adamerging_pp__{kind}.safetensors",
            tensors,
            {
                "method": f"{kind}_adamerging_pp",
                "options": canonical({"steps": 5, "batch": 4, "density": DENSITY}),
                "original": "none: elected() and adapt() of make_test_time.py",
            },
        )


main()
