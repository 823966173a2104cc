"""Writes safetensors files whose bytes depend on nothing but their content.

The `safetensors` package keeps the metadata in a hash map, so the order of the
metadata keys changes from run to run. Golden files have to be the same bytes
every time they are made, therefore the header is written here, sorted.
"""

import json
import os
import struct

import torch

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _raw_bytes(tensor):
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def save_golden(path, tensors, metadata):
    """Saves {name: tensor} with string metadata; tensors are stored in name order."""
    header = {"__metadata__": {key: str(metadata[key]) for key in sorted(metadata)}}
    blobs, offset = [], 0
    for name in sorted(tensors):
        blob = _raw_bytes(tensors[name])
        header[name] = {
            "dtype": _DTYPE_NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned to 8 bytes
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def canonical(options):
    """{"b": 2, "a": True} -> "a=true,b=2": sorted by key, lists joined by ';'."""

    def text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (list, tuple)):
            return ";".join(text(v) for v in value)
        return str(value)

    return ",".join(f"{key}={text(options[key])}" for key in sorted(options))
