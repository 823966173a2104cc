"""Images as a checkpoint's processor makes them: preprocessor_config.json of HuggingFace's CLIPImageProcessor,
ViTImageProcessor and ConvNextImageProcessor, which ResNets have."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


@dataclass(frozen=True)
class Processor:
    """Resizes an image, cuts the centre out. Mean and deviation are left to the program."""

    shorter: int | None  # pixels of the shorter side; None: the image becomes the square, whatever its sides were
    side: int  # of the square that is made
    resample: Image.Resampling

    def __call__(self, value: object, where: str) -> np.ndarray:
        """u8 [3, side, side] of a row's image: encoded bytes, or the path of a file."""
        image = decoded(value, where)
        image = image.resize(self._size(image), self.resample)
        left, top = ((extent - self.side) // 2 for extent in image.size)
        return np.asarray(image.crop((left, top, left + self.side, top + self.side))).transpose(2, 0, 1)

    def _size(self, image: Image.Image) -> tuple[int, int]:
        if self.shorter is None:
            return self.side, self.side
        short, long = sorted(image.size)
        other = int(self.shorter * long / short)
        return (self.shorter, other) if image.width <= image.height else (other, self.shorter)


def read_processor(folder: Path) -> Processor:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise ValueError(
            f"{path} must say how images are prepared, but is missing; copy it from the model that the base "
            "was trained from"
        )
    config = json.loads(path.read_text(encoding="utf-8"))
    said = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "CLIPImageProcessor")
    kind = said.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor").casefold()
    if kind not in _READERS:
        raise ValueError(f"{path}: the processor must be one of {', '.join(_READERS)}, but it is {said}")
    _check_steps(path, config, ["do_resize", "do_rescale", "do_normalize"])
    return _READERS[kind](path, config)


def _clip(path: Path, config: dict) -> Processor:
    _check_steps(path, config, ["do_center_crop"])
    size, crop = config.get("size", 224), config.get("crop_size", 224)
    shorter = size.get("shortest_edge") if isinstance(size, dict) else size
    sides = {crop} if isinstance(crop, int) else {crop.get("height"), crop.get("width")}
    if shorter is None or len(sides) != 1 or max(sides) > shorter:
        raise ValueError(
            f"{path}: size must have a shortest_edge and crop_size be a square inside of it, but they are "
            f"{json.dumps(size)} and {json.dumps(crop)}"
        )
    return Processor(shorter, max(sides), _resample(config, Image.Resampling.BICUBIC))


def _vit(path: Path, config: dict) -> Processor:
    return Processor(None, _square(path, config.get("size", 224)), _resample(config, Image.Resampling.BILINEAR))


# Small images are the centre of larger ones, large ones the whole image.
_LARGE = 384


def _convnext(path: Path, config: dict) -> Processor:
    size = config.get("size", _LARGE)
    side = size["shortest_edge"] if isinstance(size, dict) and "shortest_edge" in size else _square(path, size)
    resample = _resample(config, Image.Resampling.BILINEAR)
    shorter = None if side >= _LARGE else int(side / (config.get("crop_pct") or 224 / 256))
    return Processor(shorter, side, resample)


_READERS: dict[str, Callable[[Path, dict], Processor]] = {"clip": _clip, "vit": _vit, "convnext": _convnext}


def _check_steps(path: Path, config: dict, steps: list[str]) -> None:
    for step in steps:
        if config.get(step, True) is not True:
            raise ValueError(f"{path}: {step} must be true, but it is {json.dumps(config[step])}")


def _square(path: Path, size: object) -> int:
    sides = {size} if isinstance(size, int) else {size.get("height"), size.get("width")}
    if len(sides) != 1 or None in sides:
        raise ValueError(f"{path}: size must be a square, but it is {json.dumps(size)}")
    return sides.pop()


def _resample(config: dict, otherwise: Image.Resampling) -> Image.Resampling:
    return Image.Resampling(config.get("resample", otherwise))


def decoded(value: object, where: str) -> Image.Image:
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
