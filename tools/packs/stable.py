"""Hashes and random streams that give the same values on every machine."""

import hashlib

import numpy as np

_SEED = 20240501


def stable_hash(text: str) -> int:
    """The first 32 bits of the SHA256 of `text`; Python's own hash() differs between runs."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def random_stream(name: str) -> np.random.Generator:
    """One independent stream per name, so that changing one task leaves the others as they are."""
    return np.random.Generator(np.random.PCG64([_SEED, stable_hash(name)]))
