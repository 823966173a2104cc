"""Images and maps of a data set's rows, which are arrays with the channels first or last, as a pack has them."""

import numpy as np

from .images import decoded

_FARTHEST = 1e-6  # from 0 and 1, for a rounded image


def _array(value: object, where: str, what: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object or array.ndim not in (2, 3):
        raise ValueError(f"{where}: {what} must be an array of two or three axes, but one is not")
    return array


def _channels_first(value: object, channels: tuple[int, ...], where: str, what: str) -> np.ndarray:
    array = _array(value, where, what)
    array = array[None] if array.ndim == 2 else array
    if array.shape[0] not in channels and array.shape[-1] in channels:
        array = array.transpose(2, 0, 1)
    if array.shape[0] not in channels:
        raise ValueError(
            f"{where}: {what} must have {' or '.join(map(str, channels))} channels, first or last, but the shape of one "
            f"is {list(array.shape)}"
        )
    return array


def image_of(value: object, where: str) -> tuple[np.ndarray, float]:
    """uint8 [3, height, width], and by how much rounding changed one of its numbers from 0 to 1 at most."""
    if isinstance(value, (dict, bytes, str)):
        return np.asarray(decoded(value, where)).transpose(2, 0, 1), 0.0
    array = np.broadcast_to(image := _channels_first(value, (3, 1), where, "an image"), (3, *image.shape[1:]))
    if array.dtype == np.uint8:
        return array, 0.0
    if not (array.min() >= -_FARTHEST and array.max() <= 1 + _FARTHEST):  # also where one is NaN
        raise ValueError(
            f"{where}: an image must be uint8, or have numbers from 0 to 1, but one has numbers from {array.min():g} to "
            f"{array.max():g}"
        )
    pixels = np.rint(array * 255.0).clip(0, 255).astype(np.uint8)
    return pixels, float(np.abs(pixels / 255.0 - array).max())


def map_of_classes(value: object, count: int, where: str) -> np.ndarray:
    """uint16 [height, width]; `count` where a pixel has no class, which is -1 or 255 in data sets."""
    array = _channels_first(value, (1,), where, "a map of classes")[0]
    numbers = np.asarray(array, np.int64)
    numbers = np.where((numbers == -1) | (numbers == 255) & (count <= 255), count, numbers)
    if (numbers < 0).any() or (numbers > count).any() or (array != array.astype(np.int64)).any():
        raise ValueError(
            f"{where}: a pixel's class must be a whole number less than {count}, or -1 or 255 where it has none, but one "
            f"is {array[(numbers < 0) | (numbers > count) | (array != array.astype(np.int64))][0]}"
        )
    return numbers.astype(np.uint16)


def depth_map(value: object, where: str) -> np.ndarray:
    """float32 [height, width], in the data set's unit; NaN where it is 0 or less, or not finite."""
    depths = _channels_first(value, (1,), where, "a map of depths")[0].astype(np.float32)
    return np.where(np.isfinite(depths) & (depths > 0), depths, np.float32(np.nan))


def normal_map(value: object, where: str) -> np.ndarray:
    """float32 [3, height, width] of length 1; NaN where the vector is 0, or not finite."""
    vectors = _channels_first(value, (3,), where, "a map of normals").astype(np.float64)
    lengths = np.sqrt((vectors**2).sum(0))
    known = np.isfinite(lengths) & (lengths > 0)
    return np.where(known, vectors / np.where(known, lengths, 1), np.nan).astype(np.float32)
