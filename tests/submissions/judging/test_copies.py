"""A copy of an entry in another dress is told on both rows, and honest entries are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from challenge.submissions.entries import fingerprint, likeness
from challenge.submissions.entries.likeness import Likeness
from challenge.submissions.judging import copies
from challenge.submissions.judging.copies import alike
from challenge.submissions.judging.received import Sight
from challenge.submissions.judging.result import Result

ORIGINAL = '''
"""A method."""
import torch
from challenge.methods.contract import Method

class Mine(Method):
    """x_hat = gain A^T y"""

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(gain * torch.linspace(0, 1, 600).reshape(20, 30))

    def forward(self, y, physics):
        scale = self.gain.mean()
        return scale * physics.A_adjoint(y)
'''
DRESSED = '''
# Our own work.
from challenge.methods.contract import Method as Base
import torch as t
from torch import nn


class Mine(Base):
    def __init__(
        self,
        *,
        strength: float = 1.0,
    ) -> None:
        super().__init__()
        # Strength of everything.
        self.strength = t.nn.Parameter(
            strength * t.linspace(0, 1, 600).reshape(20, 30)
        )

    def forward(self, measured, operator):
        """Ours."""
        factor = self.strength.mean()
        return factor * operator.A_adjoint(measured)
'''
OTHER_CODE = ORIGINAL.replace("self.gain.mean()", "self.gain.mean() + 0 * self.gain.sum()")
PADDED = ORIGINAL.replace(
    "    def forward", '        self.register_buffer("more", torch.ones(7))\n\n    def forward'
)
OTHER_WEIGHTS = ORIGINAL.replace("linspace(0, 1, 600)", "linspace(0, 2, 600)")


@pytest.fixture
def look(make_entry: Callable[..., Path]) -> Callable[..., Likeness]:
    def look(source: str, **fields: object) -> Likeness:
        return fingerprint.of(make_entry(source, **fields))

    return look


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (ORIGINAL, "weights and code"),
        (DRESSED, "weights and code"),
        (OTHER_CODE, "weights"),
        (PADDED, "weights"),
        (OTHER_WEIGHTS, ""),
    ],
    ids=[
        "the same",
        "other names, comments and layout",
        "other code",
        "a tensor more",
        "retrained",
    ],
)
def test_a_copy_is_the_same_in_another_dress(
    look: Callable[..., Likeness], source: str, expected: str
) -> None:
    first, second = look(ORIGINAL), look(source)
    assert likeness.common(first, second) == likeness.common(second, first) == expected


def test_few_equal_weights_alone_are_no_copy(look: Callable[..., Likeness]) -> None:
    """Two methods with a step length of 1; but the same code with them is one."""
    small = ORIGINAL.replace("torch.linspace(0, 1, 600).reshape(20, 30)", "torch.ones(1)")
    other = small.replace("physics.A_adjoint(y)", "(0.5 * physics.A_adjoint(y))")
    assert likeness.common(look(small), look(other)) == ""
    assert likeness.common(look(small), look(small)) == "weights and code"


def test_methods_of_the_toolkit_are_told_apart_by_their_settings(
    look: Callable[..., Likeness],
) -> None:
    tv, other = ({"name": "tv", "weight": weight} for weight in (0.01, 0.02))
    first = look(method=tv, source=ORIGINAL)
    assert likeness.common(first, look(method=tv, source=ORIGINAL)) == "weights and method"
    assert likeness.common(first, look(method=other, source=ORIGINAL)) == ""


def test_names_order_and_metadata_of_tensors_do_not_matter(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(400.0), "b": torch.ones(3, 5)}
    save_file(tensors, tmp_path / "one")
    renamed = {"z": tensors["a"], "y": tensors["b"]}
    save_file(renamed, tmp_path / "two", {"author": "us"})
    assert load_file(tmp_path / "two").keys() == {"z", "y"}
    found = []
    for name in ("one", "two"):
        with (tmp_path / name).open("rb") as file:
            found.append(fingerprint._tensors(file, (tmp_path / name).stat().st_size))
    assert found[0] == found[1]


def result(letter: str, team: str, psnr: list[float], **entry: object) -> Result:
    mean = {"mean": sum(psnr) / len(psnr), "low": None, "high": None}
    return Result.model_validate(
        {
            "entry": {"hash": letter * 64, "team": team, "name": f"net{letter}", **entry},
            "challenge": {"name": "deblur", "hash": "c"},
            "judge": {"hash": "j" * 64},
            "outcome": "ok",
            "psnr": mean,
            "ssim": mean,
            "received": "2026-12-01T10:00:00+00:00",
            "judged_at": "2026-12-03T10:00:00+00:00",
            "images": [
                {"id": str(number), "psnr": each, "ssim": 0.5, "seconds": 1.0}
                for number, each in enumerate(psnr)
            ],
        }
    )


def sights(**seen: str) -> dict[str, Sight]:
    return {
        letter * 64: Sight(
            entry=letter * 64, file="", team="", name="", seen=at, modified=at, received=at
        )
        for letter, at in seen.items()
    }


def test_both_rows_say_it_with_who_was_seen_first() -> None:
    likes = {"likeness": {"weights": {"t": 5000}, "code": "1", "method": "2"}}
    found = [
        result("a", "beta", [25, 26, 27], **likes),
        result("b", "alpha", [20, 21, 22], **likes),
    ]
    seen = sights(a="2026-12-02T10:00:00+00:00", b="2026-12-01T09:00:00+00:00")
    assert alike(found, seen) == {
        "a" * 64: ("the same weights and code as alpha netb, seen first (2026-12-01 09:00 UTC)",),
        "b" * 64: ("the same weights and code as beta neta, seen later (2026-12-02 10:00 UTC)",),
    }
    # Seen at one look: the dates of the files say it.
    seen = sights(a="2026-12-02T10:00:00+00:00", b="2026-12-02T10:00:00+00:00")
    dated = [found[0], found[1].model_copy(update={"received": "2026-12-01T08:00:00+00:00"})]
    assert alike(dated, seen) == {
        "a" * 64: (
            "the same weights and code as alpha netb, received first (2026-12-01 08:00 UTC)",
        ),
        "b" * 64: (
            "the same weights and code as beta neta, received later (2026-12-01 10:00 UTC)",
        ),
    }
    # A team may hand in its own again, and a baseline is said to the team alone.
    assert alike([found[0], result("b", "beta", [20, 21, 22], **likes)], seen) == {}
    said = alike([found[0], result("b", "baseline", [20, 21, 22], **likes)], seen)
    assert said == {"a" * 64: ("the same weights and code as baseline netb",)}


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        ([25.0, 26.0, 27.0], True),
        ([25.0004, 25.9996, 27.0], True),  # weights in half precision, or a little noise on them
        ([25.01, 25.99, 27.0], False),
        ([25.0, 26.0], False),
    ],
)
def test_the_same_score_on_every_image_is_told_whatever_the_files_are(
    scores: list[float], same: bool
) -> None:
    found = alike([result("a", "alpha", [25.0, 26.0, 27.0]), result("b", "beta", scores)], {})
    assert len(found) == (2 if same else 0)
    assert all("the same score on every image" in each for (each,) in found.values())


def crowd(kind: str, count: int = 400) -> list[Result]:
    """Entries of 20 teams: `equal` ones, or ones that have a template and a score in common."""
    made = []
    for number in range(count):
        equal = kind == "equal"
        psnr = [25.0, 26.0, 27.0] if equal else [25.0, 26.0 + number, 27.0 - number]
        weights = {"shared": 4000} | ({} if equal else {f"own{number}": 6000})
        like = {"weights": weights, "code": "c", "method": "m"}
        each = result("a", f"team{number % 20}", psnr, likeness=like)
        hashed = each.entry.model_copy(update={"hash": f"{number:064}"})
        made.append(each.model_copy(update={"entry": hashed}))
    return made


@pytest.mark.parametrize("kind", ["equal", "different"])
def test_hundreds_of_entries_are_told_apart_without_comparing_all_pairs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def common(*pair: Likeness) -> str:
        nonlocal compared
        compared += 1
        return compare(*pair)

    compare = likeness.common
    monkeypatch.setattr(likeness, "common", common)
    said = alike(crowd(kind), {})
    assert compared < 4 * 400 + 1
    assert len(said) == (400 if kind == "equal" else 0)
    assert {len(each) for each in said.values()} <= {copies.NAMED + 1}
    for lines in said.values():
        assert "as team" in lines[0] and lines[-1] == "the same as further entries"


def test_every_pair_that_is_the_same_is_met() -> None:
    """By one rare tensor of many, by settings alone, and by scores on both sides of a step."""
    many = {f"t{number}": 1000 for number in range(10)}
    pairs = [
        ({"weights": many, "code": "1"}, {"weights": many | {"t9": 0, "u": 1000}, "code": "2"}),
        ({"method": "m"}, {"method": "m"}),
        ({}, {}),
    ]
    for first, second in pairs:
        found = [
            result("a", "alpha", [24.9996, 26.0, 30.0], likeness=first),
            result("b", "beta", [25.0004, 25.9996, 30.0], likeness=second),
            result("c", "gamma", [20.0, 26.0, 30.0], likeness={"weights": many | {"v": 9**6}}),
        ]
        assert alike(found, {}).keys() == {"a" * 64, "b" * 64}
