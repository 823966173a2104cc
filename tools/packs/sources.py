"""Downloads the packages that a manifest names, checks their SHA256 and unpacks them.

A manifest has one package a line: kind (deb or wheel), name, version, SHA256 of the file.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


class SourceError(RuntimeError):
    """A package cannot be had as pinned; the message says what to do."""


@dataclass(frozen=True)
class Package:
    kind: str  # "deb" or "wheel"
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        if self.kind == "wheel":
            return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"  # apt's own spelling


def manifest_sha256(manifest: Path) -> str:
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def read_manifest(manifest: Path) -> list[Package]:
    lines = manifest.read_text(encoding="ascii").splitlines()
    return [Package(*line.split()) for line in lines if line and not line.startswith("#")]


def prepare_sources(manifest: Path, cache: Path) -> dict[str, Path]:
    """Makes every package available below `cache`/sources; returns name -> unpacked folder."""
    folder = cache / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    packages = read_manifest(manifest)
    _download([p for p in packages if not (folder / p.file_name).is_file()], folder)
    return {p.name: _unpack(p, folder) for p in packages}


def _download(missing: list[Package], folder: Path) -> None:
    debs = [f"{p.name}={p.version}" for p in missing if p.kind == "deb"]
    if debs:
        _run(["apt-get", "download", *debs], folder)
    for package in missing:
        if package.kind == "wheel":
            requirement = f"{package.name}=={package.version}"
            _run([sys.executable, "-m", "pip", "download", "--no-deps", requirement], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        system = "Debian 12 after 'apt-get update'" if command[0] == "apt-get" else "a machine with a network"
        raise SourceError(
            f"the pinned packages must be downloadable; '{' '.join(command)}' failed ({error}); "
            f"run on {system}, or put the files into {folder}"
        ) from error


def _unpack(package: Package, folder: Path) -> Path:
    archive = folder / package.file_name
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise SourceError(
            f"{archive} must have SHA256 {package.sha256}, found {found}; delete it and run again"
        )
    target = folder / "unpacked" / package.sha256[:16]
    if target.is_dir():
        return target
    target.parent.mkdir(exist_ok=True)
    # Unpack beside the target and rename, so that an interrupted run leaves no half-filled folder.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        content = Path(scratch) / "content"
        content.mkdir()
        if package.kind == "wheel":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(content)
        else:
            subprocess.run(["dpkg-deb", "-x", str(archive), str(content)], check=True)
        shutil.move(content, target)
    return target
