"""What prepare makes, that it is reproducible, and that it makes it whole or not at all."""

from __future__ import annotations

import hashlib
import json
import secrets
import stat
from pathlib import Path

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.data import noise
from challenge.data.challenges import seal
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images import codec
from challenge.data.physics.measurements import read

VALID = """
name: small
images: {source: builtin, size: 64, train: 4, val: 2, test: 3}
operator: {kernel: {kind: motion, size: 9, count: 3}, boundary: valid}
noise: {sigma: [0.01, 0.05]}
"""


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_files_are_those_of_the_layout(small):
    public = {name.split("/")[0] for name in tree(small.public.path)}
    assert public == {
        "challenge.yaml", "rules.yaml", "manifest.json", "operator.npz",
        "contact-train.png", "contact-val.png",
        "train", "val",
    }  # fmt: skip
    assert set(tree(small.hidden.path)) == {
        "key", "seal.json", "sources.json", "contact-test.png", "rules.yaml",
        "test/0001.png", "test/0002.png", "test/0003.png",
        "test/0001.npz", "test/0002.npz", "test/0003.npz",
    }  # fmt: skip
    assert small.counts == {"train": 4, "val": 2, "test": 3}
    assert not small.duplicates


def test_hidden_is_private(small):
    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in (small.hidden.path.parent, small.hidden.path, small.hidden.path / "test")
    }
    assert modes == {0o700}
    files = [path for path in small.hidden.path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_truth_is_nowhere_in_public(small):
    hidden = tree(small.hidden.path)
    assert small.hidden.rules.read_bytes() == small.public.rules.read_bytes()
    del hidden["rules.yaml"]  # the organiser's copy of what is public
    assert not set(hidden.values()) & set(tree(small.public.path).values())
    names = " ".join(tree(small.public.path))
    for source in ("astronaut", "coffee", "motorcycle", "ihc", "hubble"):
        assert source not in names
        for path in small.public.path.glob("*.*"):
            if path.suffix in (".json", ".yaml"):
                assert source not in path.read_text()


def test_y_comes_from_the_truth_as_stored(small):
    """The organiser can recompute every test measurement from hidden images and key."""
    opened = open_challenge(small.public.path)
    for identity in small.hidden.ids():
        truth = codec.to_unit(codec.stored(small.hidden.image(identity)))
        problem = opened.problem
        expected = problem.measure_stored(truth, identity, small.hidden.key.read_bytes())
        np.testing.assert_allclose(
            read(small.hidden.measurement(identity)).y, expected.y, atol=1e-6, rtol=0
        )


def test_the_manifest_covers_every_other_file(small):
    manifest = json.loads(small.public.manifest.read_text())
    files = tree(small.public.path)
    del files["manifest.json"], files["rules.yaml"]
    assert manifest["files"] == files
    assert manifest["challenge"] == "small"
    assert manifest["practice"] is True
    assert manifest["format"] == 3
    assert manifest["seal"] == small.seal == seal.verify(small.public, small.hidden)


def test_the_config_is_resolved_and_stays_readable(prepare):
    prepared = prepare(VALID)
    config, _ = load_challenge(str(prepared.public.config))
    assert config.metric.crop == 4
    assert config.images.size == 64
    assert read(prepared.hidden.measurement("0001")).y.shape == (3, 56, 56)


def test_a_circular_boundary_crops_nothing_and_a_given_crop_stays(small, prepare):
    assert open_challenge(small.public.path).config.metric.crop == 0
    prepared = prepare(VALID, "metric.crop=7")
    assert open_challenge(prepared.public.path).config.metric.crop == 7


def test_one_config_and_one_key_give_one_challenge(prepare, monkeypatch):
    """All bytes, the seal included, follow from config, key and salt; `rules.yaml` is dated."""
    monkeypatch.setattr(noise, "secret_key", lambda: bytes(32))
    monkeypatch.setattr(secrets, "token_hex", lambda count: "00" * count)
    first = prepare(VALID)
    trees = [tree(each.path) for each in (first.public, first.hidden)]
    second = prepare(VALID, force=True)
    again = [tree(each.path) for each in (second.public, second.hidden)]
    for each in (*trees, *again):
        del each["rules.yaml"]
    assert again == trees


def test_without_the_key_only_test_differs(prepare):
    """The public manifest too differs by the seal only."""
    prepared = prepare(VALID)
    first, manifest = tree(prepared.public.path), json.loads(prepared.public.manifest.read_text())
    prepared = prepare(VALID, force=True)
    second = tree(prepared.public.path)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == {
        "manifest.json", "rules.yaml",
    }  # fmt: skip
    again = json.loads(prepared.public.manifest.read_text())
    assert manifest.pop("seal") != again.pop("seal")
    assert manifest == again


def test_preparing_twice_is_refused_without_force(prepare):
    prepared = prepare()
    before = tree(prepared.public.path), tree(prepared.hidden.path)
    with pytest.raises(UserError) as caught:
        prepare()
    assert str(caught.value) == (
        f"{prepared.public.path}: exists already; "
        "`--force` replaces it; a new secret key then makes all its entries invalid"
    )
    assert (tree(prepared.public.path), tree(prepared.hidden.path)) == before
    for path in prepared.public.path.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(UserError, match="exists already"):
        prepare()


def test_force_makes_a_new_key(prepare):
    first = prepare()
    key = first.hidden.key.read_bytes()
    second = prepare(force=True)
    assert second.hidden.key.read_bytes() != key
    assert second.seal != first.seal
    assert not list(second.public.path.parent.glob(".*"))
    assert not list(second.hidden.path.parent.glob(".*"))


def test_progress_reaches_its_total(prepare):
    calls: list[tuple[str, int, int]] = []
    prepare(progress=lambda *call: calls.append(call))
    for split, total in (("train", 4), ("val", 2), ("test", 3)):
        assert [done for what, done, _ in calls if what == split] == list(range(total + 1))
        assert {count for what, _, count in calls if what == split} == {total}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            ["operator.kernel={kind: uniform, size: 65}"],
            "64 pixels are too small for a 65x65 kernel",
        ),
        (["metric.crop=30"], "are too small for a 9x9 kernel and a metric that crops 30"),
    ],
)
def test_a_kernel_or_crop_larger_than_the_image_is_refused(prepare, changes, cause):
    with pytest.raises(UserError) as caught:
        prepare(VALID, *changes)
    assert cause in str(caught.value)
    assert "challenge.yaml:3: " in str(caught.value)


def test_a_picture_that_loses_rows_to_the_factor_is_told_of(tmp_path, prepare):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        side = 64 if number % 2 else 61
        pixels = rng.integers(0, 255, (side, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    text = """
name: small
images: {source: folder, path: PATH, size: 64, val: 3, test: 3}
operator: {kind: downsampling, factor: 4, kernel: {kind: box}}
noise: {sigma: 0.01}
""".replace("PATH", str(folder))
    notices = []
    made = prepare(text, notices=notices)
    opened = open_challenge(made.public.path)
    sizes = [opened.truth(each).shape for each in opened.ids("val")]
    assert all(height in (60, 64) and width == 64 for _, height, width in sizes)
    lost = sum(height == 60 for _, height, _ in sizes)
    said = [each for each in notices if each.startswith("val: ")]
    lose = "1 picture loses" if lost == 1 else f"{lost} pictures lose"
    assert said == [f"val: {lose} rows or columns that the operator cannot downsample"] * (lost > 0)
    assert any("cannot downsample" in each for each in notices)
