"""Ids are unique whatever the names, and depend on the names only."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from challenge.data.images.identities import identities

FOLDER = Path("photographs")

PLAIN = {
    "a.png": "a",
    "IMG_0001.JPG": "IMG_0001",
    "my best (1).png": "my_best__1_",
    "x.y.z.tif": "x_y_z",
    "sub/deep.png": "deep",
}
COLLIDING = [
    "p.png", "p.jpg", "sub/p.png", "P.PNG", "p q.png", "p_q.png", "p(q.png",
    "山.png", "川.png", "雪山.png", "雪 川.png", "ä.png", "a\u0308.png", "é.png",
    "🙂.png", "🙃.png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe8.png"),
    "n" * 240 + ".png", "n" * 241 + "é.png",
]  # fmt: skip


def test_ascii_names_keep_their_ids():
    files = [FOLDER / name for name in PLAIN]
    assert identities(FOLDER, files) == {FOLDER / name: found for name, found in PLAIN.items()}


def test_ids_are_unique_safe_and_independent_of_the_order():
    files = [FOLDER / name for name in [*PLAIN, *COLLIDING]]
    ids = identities(FOLDER, files)
    assert len({identity.casefold() for identity in ids.values()}) == len(files)
    for identity in ids.values():
        assert re.fullmatch("[A-Za-z0-9_-]+", identity)
        assert len(identity) + len(".png") <= 255
    random.Random(3).shuffle(files)
    assert identities(FOLDER, files) == ids


def test_a_name_beyond_ascii_has_an_id_of_its_own():
    """It is the same whatever else is there."""
    (alone,) = identities(FOLDER, [FOLDER / "Grün.png"]).values()
    assert re.fullmatch("Grun-[0-9a-f]{8}", alone)
    files = [FOLDER / name for name in ["Grün.png", "grün.png", "Grun.png", "山.png"]]
    assert identities(FOLDER, files)[files[0]] == alone


@pytest.mark.parametrize("times", [1, 2])
def test_a_name_that_looks_like_an_id(times):
    """Also where a file is called what another one would be."""
    files = [FOLDER / "山.png"]
    for _ in range(times):
        files.append(FOLDER / f"{identities(FOLDER, files)[files[0]]}.png")
    assert len(set(identities(FOLDER, files).values())) == len(files)
