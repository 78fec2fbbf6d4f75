"""The attack: an entry that computes nothing, and looks up what was computed beforehand.

Its table holds every measurement that is public, and every one that can be simulated from what is
public, each with the best reconstruction that its team could make in any time. Where test
measurements are published it must win, or it would prove nothing; where they are hidden it must
get what a table of nothing gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from challenge.configs.loader import load_challenge
from challenge.configs.schema.entry import EntryConfig
from challenge.data import noise, tensors
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.images import codec
from challenge.data.layout import SPLITS, Hidden, Workspace
from challenge.data.physics.measurements import Measurement, read
from challenge.methods import build, registry
from challenge.submissions import layout, psnr
from challenge.submissions.entries.pack import pack
from challenge.submissions.judging.judge import judge_entry, open_judge
from challenge.submissions.judging.result import Result
from challenge.submissions.runs import storage

SIDE, SIGMA = 64, 0.03
TEXT = """
name: boxes
images: {{source: folder, path: {path}, size: {side}, mode: grey, val: 2, test: 3}}
operator: {{kernel: {{kind: gaussian, std: 1.5}}, boundary: circular}}
noise: {{sigma: {sigma}}}
limits: {{threads: 1, memory_gb: 4}}
"""
METHOD = """
import torch
from challenge.methods import Method


class LookUp(Method):
    '''x_hat = the stored answer to the nearest known measurement, where that is near; else y'''

    def __init__(self, *, known: int = 1, side: int = 64, near: float = 0.0) -> None:
        super().__init__()
        self.near = near
        self.register_buffer("questions", torch.zeros(known, 1, side, side))
        self.register_buffer("answers", torch.zeros(known, 1, side, side))

    def forward(self, y, physics):
        distance = (self.questions - y).square().mean((1, 2, 3))
        nearest = distance.argmin()
        return self.answers[nearest][None] if distance[nearest] < self.near else y.clone()
"""
Table = list[tuple[np.ndarray, np.ndarray]]
"""Measurements with what to answer, both float32 of shape (C, H, W)."""


@dataclass(frozen=True)
class Ground:
    """A prepared challenge, as the team and as the organiser sees it."""

    place: Workspace
    challenge: Challenge
    hidden: Hidden

    def measured(self) -> float:
        """The mean PSNR of the test measurements themselves: what looking up nothing gets."""
        found = []
        for identity in self.hidden.ids():
            y = read(self.hidden.measurement(identity)).y
            truth = codec.to_unit(codec.stored(self.hidden.image(identity)))
            found.append(psnr(estimate=y, truth=truth))
        return float(np.mean(found))


@pytest.fixture(scope="module")
def grounds(tmp_path_factory) -> dict[str, Ground]:
    """The same photographs, noise key and all, once with the measurements hidden."""
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "boxes").mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        picture = np.full((SIDE, SIDE), 128, np.uint8)
        for _ in range(12):
            top, left = rng.integers(SIDE - 8, size=2)
            height, width = rng.integers(8, 40, size=2)
            picture[top : top + height, left : left + width] = rng.integers(256)
        Image.fromarray(picture).save(folder / "boxes" / f"{number}.png")
    text = TEXT.format(path=folder / "boxes", side=SIDE, sigma=SIGMA)
    (folder / "boxes.yaml").write_text(text)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "secret_key", lambda: bytes(range(32)))
        for rule in ("hidden", "published"):
            config, source = load_challenge(
                str(folder / "boxes.yaml"), [f"rules.test_measurements={rule}"]
            )
            place = Workspace(folder / rule)
            prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
            public, hidden = place.public("boxes"), place.hidden("boxes")
            made[rule] = Ground(place, open_challenge(public.path, verify=True), hidden)
    return made


def published(challenge: Challenge) -> Iterator[Measurement]:
    """Every measurement that lies in the public folder, wherever it lies."""
    for path in sorted(challenge.path.glob("*/*.npz")):
        yield read(path)


def simulated(challenge: Challenge) -> Iterator[tuple[Measurement, np.ndarray]]:
    """Measurements of every public picture, by every public key, under every public name."""
    config, problem = challenge.config, challenge.problem
    names = {path.stem for path in challenge.path.rglob("*.*")}
    names |= {f"{number:04d}" for number in range(1, challenge.test.count + 1)}
    for path in sorted([*challenge.path.glob("train/*.png"), *challenge.path.glob("val/*.png")]):
        truth = codec.to_unit(codec.stored(path))
        for split in SPLITS:
            key = noise.public_key(config.seed, config.name, split)
            for name in sorted(names):
                yield problem.measure_stored(truth, name, key), truth


def table(challenge: Challenge) -> Table:
    """What a team can know of the measurements that it will be asked for."""
    truths = {each: challenge.truth(each) for each in challenge.ids("val")}
    slow = build({"name": "tv", "weight": 0.01, "iterations": 200})
    known: Table = []
    for measurement in published(challenge):
        if measurement.identity in truths:
            known.append((measurement.y, truths[measurement.identity]))
        else:
            known.append((measurement.y, slow(*tensors(measurement))[0].numpy()))
    known += [(measurement.y, truth) for measurement, truth in simulated(challenge)]
    return known


def judged(ground: Ground, known: Table, folder: Path) -> Result:
    """The judge's verdict on an entry that carries a table."""
    (folder / "method.py").write_text(METHOD)
    # So near are two measurements of one image, whose noise differs, too.
    section = {"known": len(known), "side": SIDE, "near": 4 * SIGMA**2}
    config = EntryConfig(
        challenge="boxes", name="table", method={"name": "method.py:LookUp", **section}
    )
    method = registry.build(config.method, folder)
    questions, answers = (torch.from_numpy(np.stack(each)) for each in zip(*known, strict=True))
    method.load_state_dict({"questions": questions, "answers": answers})
    run = storage.create(Workspace(folder), ground.challenge, config, folder)
    storage.finish(run, method, 1.0)
    entry = layout.entry(Workspace(folder), "alpha", "table")
    pack(run, "alpha", entry, ground.challenge, None)
    judge = open_judge(ground.place, ground.challenge, ground.hidden, None, level="process")
    result, _ = judge_entry(judge, entry)
    assert result.outcome == "ok", result
    return result


def test_where_measurements_are_published_a_table_wins(grounds, tmp_path):
    """Without a computation: the reason for the rule."""
    ground = grounds["published"]
    result = judged(ground, table(ground.challenge), tmp_path)
    assert result.psnr is not None
    assert result.psnr.mean > ground.measured() + 3


def test_where_they_are_hidden_a_table_gets_nothing(grounds, tmp_path):
    ground = grounds["hidden"]
    known = table(ground.challenge)
    assert len(known) > 100
    result = judged(ground, known, tmp_path)
    assert result.psnr is not None
    assert result.psnr.mean <= ground.measured() + 1e-6


def test_the_table_answers_what_is_in_it(grounds):
    """It holds every val measurement, and so much noise as its threshold allows for."""
    challenge = grounds["hidden"].challenge
    questions = np.stack([y for y, _ in table(challenge)])
    for identity in challenge.ids("val"):
        y = challenge.measurement("val", identity).y
        distance = ((questions - y) ** 2).mean((1, 2, 3))
        assert distance.min() == 0
        assert (distance < 4 * SIGMA**2).sum() > 1
