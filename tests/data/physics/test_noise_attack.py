"""The attack: regenerate the noise of the test measurements from everything that is public.

Who succeeds subtracts the noise and inverts the blur. The same attack must succeed on val, whose
key is public, or it would prove nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from challenge.data import noise
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.physics.measurements import Measurement, read

DRAWS = range(3)
SEEDS = range(300)


def probe(measurement: Measurement) -> np.ndarray:
    """y with its image taken away as far as a high-pass filter does it; unit norm."""
    y = measurement.y.astype(np.float64)
    for _ in range(2):
        for axis in (1, 2):
            y = 2 * y - np.roll(y, 1, axis) - np.roll(y, -1, axis)
    return (y / np.linalg.norm(y)).ravel()


def public_secrets(challenge: Challenge) -> Iterator[bytes]:
    """Every key that somebody who has the public folder and this code might try."""
    config = challenge.config
    for seed in {*range(20), config.seed}:
        for split in ("train", "val", "test", "hidden", ""):
            yield noise.public_key(seed, config.name, split)
    texts = {config.name, str(config.seed), challenge.seal, challenge.hash, "", "test", "key"}
    manifest = json.loads((challenge.path / "manifest.json").read_text())
    for text in sorted(texts | set(manifest["files"].values())):
        yield text.encode()
        yield hashlib.sha256(text.encode()).digest()
    yield from (bytes.fromhex(challenge.seal), bytes.fromhex(challenge.hash), bytes(32))


def candidates(challenge: Challenge, measurement: Measurement) -> Iterator[np.ndarray]:
    """Noises of the measurement's shape, from everything public."""
    shape = measurement.y.shape
    for key in public_secrets(challenge):
        for identity in (measurement.identity, "train", "test", ""):
            for draw in DRAWS:
                yield noise.normal(key, identity, draw, shape)
    number = int(measurement.identity) if measurement.identity.isdigit() else 0
    for seed in SEEDS:
        yield torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()
        yield np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        yield np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        philox = np.random.Philox(key=seed, counter=number)
        yield np.random.Generator(philox).standard_normal(shape, dtype=np.float32)


def attack(challenge: Challenge, measurement: Measurement) -> float:
    """The largest correlation of y with a candidate, in standard errors of no correlation."""
    y = probe(measurement)
    return max(abs(float(y @ n.ravel())) for n in candidates(challenge, measurement))


@pytest.fixture
def challenge(small) -> Challenge:
    return open_challenge(small.public.path)


def test_the_attack_finds_the_noise_of_val(challenge):
    for identity in challenge.ids("val"):
        assert attack(challenge, challenge.measurement("val", identity)) > 20


def test_the_attack_does_not_find_the_noise_of_test(small, challenge):
    """Not even where the measurements are published."""
    for identity in small.hidden.ids():
        assert attack(challenge, read(small.hidden.measurement(identity))) < 6


def test_the_organiser_finds_it_with_the_key(small):
    """So the noise is there to be found, and the stored key is the one that made it."""
    key = small.hidden.key.read_bytes()
    for identity in small.hidden.ids():
        measurement = read(small.hidden.measurement(identity))
        n = noise.normal(key, identity, 0, measurement.y.shape)
        assert probe(measurement) @ n.ravel() > 20


def test_no_file_of_the_public_folder_holds_the_key(small):
    key = small.hidden.key.read_bytes()
    assert len(key) == 32
    needles = (key, key.hex().encode(), key[:16])
    for path in small.public.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path


def test_kernel_and_level_of_test_do_not_follow_from_public_keys(prepare):
    """Two preparations of one config draw other kernels, levels and orders for test."""
    text = """
name: many
images: {source: builtin, size: 64, train: 4, val: 2, test: 6}
operator: {kernel: {kind: motion, size: 9, count: 20}, boundary: circular}
noise: {sigma: [0.01, 0.05]}
"""

    def facts(split):
        opened = open_challenge(prepared.public.path)
        return [(m.noise["sigma"], m.operator["kernel"].tobytes()) for m in measured(opened, split)]

    def measured(opened, split):
        if split == "test":
            return [read(prepared.hidden.measurement(each)) for each in prepared.hidden.ids()]
        return [opened.measurement(split, identity) for identity in opened.ids(split)]

    prepared = prepare(text)
    val, test = facts("val"), facts("test")
    prepared = prepare(text, force=True)
    assert facts("val") == val
    assert all(one != other for one, other in zip(facts("test"), test, strict=True))
