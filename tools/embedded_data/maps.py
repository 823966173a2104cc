"""World maps, split into blocks, and terrain classes from elevation, temperature and rain."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import netcdf_file

from packs.stable import stable_hash

Image.MAX_IMAGE_PIXELS = None  # the maps are trusted (SHA256) and larger than Pillow's guard

_MAPS = Path("usr/share/marble/data/maps")
_ELEVATION = Path("usr/share/ferret-vis/data/etopo5.cdf")
_WIDTH, _HEIGHT = 2160, 1080  # common grid: 6 pixels per degree

TERRAIN_CLASSES = (
    "deep ocean", "shelf", "coast", "ice", "boreal",
    "temperate", "desert", "savanna", "rainforest", "mountain",
)  # fmt: skip

TERRAIN_CROP = 28
_TERRAIN_STRIDE = 7
_GRAIN = 3  # low bits that are dropped: they double the file and say nothing about terrain
_POLAR_ROWS = (16, 48)  # rows left out at the top and at the bottom


@dataclass(frozen=True)
class BlockedMap:
    """A colour map whose square blocks belong to train, val or test."""

    name: str
    pixels: np.ndarray  # uint8 [height, width, 3]
    block: int  # pixels
    salt: str = ""  # varies which blocks are test and val

    def role_and_group(self, top: int, left: int, size: int) -> tuple[str | None, str]:
        """Role of a crop and its block; the role is None where the crop touches several roles."""
        rows = range(top // self.block, (top + size - 1) // self.block + 1)
        columns = range(left // self.block, (left + size - 1) // self.block + 1)
        key = self.name + self.salt
        roles = {_block_role(key, row, column) for row in rows for column in columns}
        group = f"{self.name}:{top // self.block},{left // self.block}"
        return (roles.pop() if len(roles) == 1 else None), group


@cache
def _block_role(key: str, row: int, column: int) -> str:
    draw = stable_hash(f"block:{key}:{row},{column}") % 20
    if draw < 4:
        return "test"
    return "val" if draw < 8 else "train"


def load_blue_marble(marble: Path) -> BlockedMap:
    image = _open_map(marble, "earth/bluemarble/bluemarble.jpg").convert("RGB")
    resized = image.resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    # Of 400 salts, the one under which the rarest terrain class is most frequent in val and test.
    return BlockedMap("bluemarble", np.asarray(resized), block=84, salt="229")


def load_schagen(marble: Path) -> BlockedMap:
    """The world map of 1689: a background full of engraved lines and lettering."""
    image = _open_map(marble, "earth/schagen1689/schagen1689.jpg").convert("RGB")
    return BlockedMap("schagen1689", np.asarray(image), block=128)


def load_pool_maps(marble: Path) -> list[np.ndarray]:
    """Moon and city lights: maps that no task shows."""
    moon = sorted((marble / _MAPS / "moon/clementine").glob("*.jpg"))[0]
    lights = marble / _MAPS / "earth/citylights/citylights.jpg"
    return [np.asarray(Image.open(path).convert("RGB")) for path in (moon, lights)]


def _open_map(marble: Path, name: str) -> Image.Image:
    return Image.open(marble / _MAPS / name)


@dataclass(frozen=True)
class TerrainPatch:
    image: np.ndarray  # uint8 [28, 28, 3]
    label: int
    role: str
    group: str


@dataclass(frozen=True)
class _Climate:
    """Layers on the common grid; but for elevation, grey values of printed maps, not units."""

    elevation: np.ndarray  # metres
    july: np.ndarray  # temperature, 0..1
    december: np.ndarray
    rain: np.ndarray  # mean of July and December, 0..255


def terrain_patches(world: BlockedMap, marble: Path, ferret: Path) -> Iterator[TerrainPatch]:
    """Every crop on a regular grid that shows exactly one terrain class, in row order."""
    climate = _load_climate(marble, ferret)
    for top in range(_POLAR_ROWS[0], _HEIGHT - _POLAR_ROWS[1], _TERRAIN_STRIDE):
        for left in range(0, _WIDTH - TERRAIN_CROP, _TERRAIN_STRIDE):
            window = np.s_[top : top + TERRAIN_CROP, left : left + TERRAIN_CROP]
            role, group = world.role_and_group(top, left, TERRAIN_CROP)
            if role is None:
                continue
            name = _terrain_class(world.pixels[window], climate, window)
            if name is not None:
                label = TERRAIN_CLASSES.index(name)
                yield TerrainPatch(world.pixels[window] & ~np.uint8(_GRAIN), label, role, group)


def _terrain_class(pixels: np.ndarray, climate: _Climate, window: tuple[slice, ...]) -> str | None:
    """The class of one window, None where it is mixed. Our thresholds, not an official legend."""
    elevation = climate.elevation[window]
    land = np.count_nonzero(elevation > 0) / elevation.size
    if land < 0.02:
        depth = elevation.mean()
        return "deep ocean" if depth < -3000 else "shelf" if depth > -400 else None
    if 0.3 < land < 0.7:
        return "coast"
    if land <= 0.97:
        return None
    if pixels.mean(dtype=np.float64) > 215:
        return "ice"
    if elevation.mean() > 2200 or elevation.std() > 600:
        return "mountain"
    coldest = min(climate.july[window].mean(), climate.december[window].mean())
    rain = climate.rain[window].mean()
    if coldest < 0.50:
        return "boreal"
    if rain < 14:
        return "desert"
    if rain > 95:
        return "rainforest"
    return "savanna" if coldest > 0.78 else "temperate"


def _load_climate(marble: Path, ferret: Path) -> _Climate:
    layers = {}
    for name in ("temp-july", "temp-dec", "precip-july", "precip-dec"):
        image = _open_map(marble, f"earth/{name}/{name}.jpg").convert("L")
        layers[name] = np.asarray(image.resize((_WIDTH, _HEIGHT)), np.float64)
    return _Climate(
        elevation=_load_elevation(ferret),
        july=layers["temp-july"] / 255,
        december=layers["temp-dec"] / 255,
        rain=(layers["precip-july"] + layers["precip-dec"]) / 2,
    )


def _load_elevation(ferret: Path) -> np.ndarray:
    """ETOPO5 in metres on the common grid: north up, first column at 180 degrees west."""
    with netcdf_file(str(ferret / _ELEVATION), "r", mmap=False) as file:
        rose = file.variables["ROSE"][:].copy()
        axis = next(name for name in file.variables if "X" in name.upper())
        first_longitude = float(file.variables[axis][0])
    points_per_degree = 12
    shift = round((-180 - first_longitude) % 360 * points_per_degree)
    rolled = np.roll(rose[::-1], -shift, axis=1)[:2160].astype(np.float32)
    resized = Image.fromarray(rolled).resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float64)
