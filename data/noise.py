"""Noise as a function of (key, identity, draw): never of loop order, batch size or thread.

    n = Philox(SHA-256(domain, key, identity, draw)[:128 bits]).standard_normal(shape)

Philox4x64 (Salmon, Moraes, Dror, Shaw 2011) takes a key of 128 bits. torch's CPU generator uses
32 bits of its seed only: those can be searched, and who knows the noise inverts the blur.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 32


def public_key(seed: int, challenge: str, split: str) -> bytes:
    """The key of a split whose noise everybody may know: train and val. 32 bytes."""
    return _digest("public key", str(seed).encode(), challenge.encode(), split.encode())


def secret_key() -> bytes:
    """A new key for the test split: 32 bytes from the system's source of secrets."""
    return secrets.token_bytes(KEY_BYTES)


def normal(key: bytes, identity: str, draw: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """White standard normal noise of the given shape, float32."""
    return _generator("normal", key, identity, draw).standard_normal(tuple(shape), dtype=np.float32)


def choices(key: bytes, identity: str, draw: int) -> np.random.Generator:
    """The generator by which an image draws its operator, and then its noise level."""
    return _generator("settings", key, identity, draw)


def poisson(
    key: bytes, identity: str, draw: int, rate: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Counts of photons, float32, where `rate` >= 0 is their expected number.

    How far the generator has gone for one pixel depends on the rates of those before: rates
    that differ in their last digit, as on another device, may draw other counts.
    """
    counts = _generator("poisson", key, identity, draw).poisson(rate)
    return counts.astype(np.float32)


def secret_order(key: bytes, count: int) -> list[int]:
    """A permutation of 0 ... count - 1 that only the owner of `key` knows."""
    order: list[int] = _generator("order", key, "", 0).permutation(count).tolist()
    return order


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator for a public choice (splits, crops, procedural images) named by `names`."""
    digest = _digest("public choice", str(seed).encode(), *(name.encode() for name in names))
    return np.random.Generator(np.random.Philox(key=_philox_key(digest)))


def _generator(domain: str, key: bytes, identity: str, draw: int) -> np.random.Generator:
    digest = _digest(domain, key, identity.encode(), draw.to_bytes(8, "big"))
    return np.random.Generator(np.random.Philox(key=_philox_key(digest)))


def _philox_key(digest: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)


def _digest(domain: str, *parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts, so that no two lists of parts read alike."""
    state = hashlib.sha256()
    for part in (b"challenge 1 " + domain.encode(), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
