"""Images as a checkpoint's processor makes them: preprocessor_config.json of HuggingFace's CLIPImageProcessor."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


@dataclass(frozen=True)
class Processor:
    """Resizes the shorter side, cuts the centre out. Mean and deviation are left to the program."""

    shorter: int
    crop: int
    resample: Image.Resampling

    def __call__(self, value: object, where: str) -> np.ndarray:
        """u8 [3, crop, crop] of a row's image: encoded bytes, or the path of a file."""
        image = _decoded(value, where)
        short, long = sorted(image.size)
        other = int(self.shorter * long / short)
        size = (self.shorter, other) if image.width <= image.height else (other, self.shorter)
        image = image.resize(size, self.resample)
        left, top = ((extent - self.crop) // 2 for extent in image.size)
        return np.asarray(image.crop((left, top, left + self.crop, top + self.crop))).transpose(2, 0, 1)


def read_processor(folder: Path) -> Processor:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise ValueError(
            f"{path} must say how images are prepared, but is missing; copy it from the model that the base "
            "was trained from"
        )
    config = json.loads(path.read_text(encoding="utf-8"))
    size, crop = config.get("size", 224), config.get("crop_size", 224)
    shorter = size.get("shortest_edge") if isinstance(size, dict) else size
    sides = {crop} if isinstance(crop, int) else {crop.get("height"), crop.get("width")}
    if shorter is None or len(sides) != 1 or max(sides) > shorter:
        raise ValueError(
            f"{path}: size must have a shortest_edge and crop_size be a square inside of it, but they are "
            f"{json.dumps(size)} and {json.dumps(crop)}"
        )
    for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
        if config.get(step, True) is not True:
            raise ValueError(f"{path}: {step} must be true, but it is {json.dumps(config[step])}")
    return Processor(shorter, max(sides), Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)))


def _decoded(value: object, where: str) -> Image.Image:
    content = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    if not isinstance(content, (str, bytes)):
        raise ValueError(
            f"{where}: an image must be an encoded file, as data sets of HuggingFace store it, but one is a "
            f"{type(content).__name__}"
        )
    try:
        return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{where}: an image cannot be read: {error}") from None
