"""The frozen judge of glyphs16: made once by train_judge.py and kept, so that a pack's bytes do not depend on how sums of
a training are ordered on some machine."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from packs.task_pack import Judge

from .styles import SIDE, STYLES

WEIGHTS = Path(__file__).with_name("judge.safetensors")
CHANNELS = (12, 24, 48)


def config_of(classes: int) -> dict:
    return {
        "model_type": "cnn",
        "image_size": SIDE,
        "num_channels": 1,
        "hidden_sizes": list(CHANNELS),
        "depths": [1] * len(CHANNELS),
        "pool_last": False,
        "num_labels": classes + len(STYLES),
    }


def load_judge(classes: int) -> Judge:
    tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS).items()}
    return Judge(config_of(classes), tensors)
