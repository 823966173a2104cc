"""Folders by name: plain ones, and those of the HuggingFace hub's cache, whose files are links into `blobs`."""

import os
from collections.abc import Sequence
from pathlib import Path


def default_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


class Roots:
    """Where names are looked for, in this order; the hub cache of the user comes last."""

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise ValueError(f"'{folder}' must be a folder; check --models and --data")
        self._folders = [*folders, default_cache()]

    def model(self, name: str, relative_to: Path) -> Path:
        return self._find("models", name, relative_to)

    def data(self, name: str, relative_to: Path) -> Path:
        return self._find("datasets", name, relative_to)

    def _find(self, kind: str, name: str, relative_to: Path) -> Path:
        cached = f"{kind}--{name.replace('/', '--')}"
        candidates = [relative_to / name]
        for root in self._folders:
            candidates += [root / name, root / name.rsplit("/", 1)[-1], root / cached, root / "hub" / cached]
        for folder in candidates:
            if folder.is_dir():
                return _snapshot(folder) if (folder / "snapshots").is_dir() else _checked(folder.absolute())
        places = ", ".join(map(str, self._folders))
        raise ValueError(
            f"'{name}' must be a folder or a repository in a hub cache, but it is in none of {places}; "
            "download it there, or name its folder"
        )


def repository_name(folder: Path) -> str:
    """ "owner/name" of a snapshot in a hub cache, else the folder's own name."""
    if folder.parent.name == "snapshots":
        return folder.parents[1].name.split("--", 1)[-1].replace("--", "/")
    return folder.name


def _snapshot(repository: Path) -> Path:
    if unfinished := sorted((repository / "blobs").glob("*.incomplete")):
        raise ValueError(
            f"{repository}: a download was interrupted and left {unfinished[0].name}; download it again, "
            "or remove that file"
        )
    snapshots = sorted(path for path in (repository / "snapshots").iterdir() if path.is_dir())
    main = repository / "refs/main"
    if main.is_file():
        snapshots = [repository / "snapshots" / main.read_text().strip()]
    if len(snapshots) != 1 or not snapshots[0].is_dir():
        raise ValueError(
            f"{repository}: refs/main must name one of the snapshots, or there must be one; download it "
            f"again, or name the folder of a snapshot; there are {len(snapshots)}"
        )
    return _checked(snapshots[0].absolute())


def _checked(folder: Path) -> Path:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.exists():
            raise ValueError(
                f"{path}: the blob {os.readlink(path)} is missing; download {repository_name(folder)} again"
            )
    return folder
