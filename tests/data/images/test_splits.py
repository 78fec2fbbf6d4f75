"""Splits are disjoint by content, seeded, and every bad photograph is named at once."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images import codec


def text(path: Path | str, mode: str = "colour", size: int = 40, counts: str = "val: 2, test: 3"):
    return f"""
name: mine
images: {{source: folder, path: {path}, mode: {mode}, size: {size}, {counts}}}
operator: {{kernel: {{kind: gaussian, std: 1.0}}, boundary: circular}}
noise: {{sigma: 0.03}}
"""


def contents(prepared) -> dict[str, str]:
    """SHA-256 of the stored pixels of every image, by split and id."""
    stored = {}
    for split in ("train", "val"):
        for path in sorted((prepared.public.path / split).glob("*.png")):
            stored[f"{split}/{path.stem}"] = codec.stored(path)
    for identity in prepared.hidden.ids():
        stored[f"test/{identity}"] = codec.stored(prepared.hidden.image(identity))
    return {name: hashlib.sha256(picture.tobytes()).hexdigest() for name, picture in stored.items()}


def sources(prepared) -> dict[str, dict[str, str]]:
    table = json.loads(prepared.hidden.sources.read_text())
    return {
        split: {identity: Path(path).name for identity, path in rows.items()}
        for split, rows in table.items()
    }


def causes(caught: pytest.ExceptionInfo[UserError]) -> dict[str, str]:
    return {Path(m.place).name: m.cause for m in caught.value.mistakes}


def test_every_photograph_is_in_one_split(prepare, photographs):
    prepared = prepare(text(photographs))
    assert prepared.counts == {"train": 7, "val": 2, "test": 3}
    found = contents(prepared)
    assert len(set(found.values())) == len(found) == 12
    names = sources(prepared)
    assert sorted(name for rows in names.values() for name in rows.values()) == sorted(
        path.name for path in photographs.iterdir()
    )
    opened = open_challenge(prepared.public.path)
    assert opened.ids("train") == sorted(names["train"])
    assert prepared.hidden.ids() == prepared.hidden.measured() == ["0001", "0002", "0003"]
    assert not opened.practice


def test_val_and_test_are_cropped_about_the_centre_and_train_is_whole(prepare, photographs):
    prepared = prepare(text(photographs))
    opened = open_challenge(prepared.public.path)
    assert {opened.train.shape(index) for index in range(7)} == {(3, 48, 56)}
    for identity, name in sources(prepared)["val"].items():
        expected = codec.centre(codec.photograph(photographs / name), 40, 40)
        assert np.array_equal(opened.truth(identity), codec.to_unit(expected))
        assert opened.measurement("val", identity).shape == (3, 40, 40)


def test_images_smaller_than_the_crop_keep_their_size(prepare, photographs):
    prepared = prepare(text(photographs, size=52))
    (shapes,) = open_challenge(prepared.public.path).test.shapes
    assert (shapes.image, shapes.count) == ((3, 48, 52), 3)


def test_large_training_images_are_cut_to_1024(prepare, photographs, noise_picture):
    noise_picture(77, 40, 1100).save(photographs / "wide.png")
    opened = open_challenge(prepare(text(photographs)).public.path)
    if "wide" in opened.ids("train"):
        assert opened.train.shape(opened.train.ids.index("wide")) == (3, 40, 1024)


def test_the_draw_follows_the_seed_and_nothing_else(prepare, photographs, tmp_path):
    first = sources(prepare(text(photographs)))
    again = sources(prepare(text(photographs), force=True))
    assert {*first["test"].values()} == {*again["test"].values()}
    assert first["val"] == again["val"]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in sorted(photographs.iterdir(), reverse=True):
        shutil.copy(path, moved / path.name)
    assert {*sources(prepare(text(moved), force=True))["test"].values()} == {
        *first["test"].values()
    }
    draws = set()
    for seed in range(6):
        prepared = prepare(text(photographs), f"seed={seed}", force=True)
        draws.add(frozenset(sources(prepared)["test"].values()))
    assert len(draws) > 3


def test_test_ids_say_nothing_about_file_names(prepare, photographs):
    orders = {
        tuple(
            sources(prepare(text(photographs, counts="val: 1, test: 6"), force=True))[
                "test"
            ].values()
        )
        for _ in range(4)
    }
    assert len(orders) > 1


def test_exact_duplicates_are_dropped_and_reported(prepare, photographs):
    shutil.copy(photographs / "a.png", photographs / "zcopy.png")
    Image.open(photographs / "b.png").save(photographs / "zother.bmp")  # same pixels, other file
    notices: list[str] = []
    prepared = prepare(text(photographs), notices=notices)
    assert sum(prepared.counts.values()) == 12
    pairs = [(Path(one).name, Path(other).name) for one, other in prepared.duplicates]
    assert pairs == [("zcopy.png", "a.png"), ("zother.bmp", "b.png")]
    assert [re.sub(r"\S*/", "", notice) for notice in notices] == [
        "zcopy.png: has the same pixels as a.png, left out",
        "zother.bmp: has the same pixels as b.png, left out",
    ]


def three_folders(photographs: Path) -> str:
    """Own folders: a-h train, i-j val, k-l test."""
    for split, names in (("val", "ij"), ("test", "kl")):
        (photographs.parent / split).mkdir()
        for name in names:
            (photographs / f"{name}.png").rename(photographs.parent / split / f"{name}.png")
    parent = photographs.parent
    return f"{{train: {photographs}, val: {parent / 'val'}, test: {parent / 'test'}}}"


def test_own_folders(prepare, photographs):
    prepared = prepare(text(three_folders(photographs), counts="val: 9, test: 1"))
    assert prepared.counts == {"train": 8, "val": 2, "test": 1}
    assert {*sources(prepared)["val"].values()} == {"i.png", "j.png"}


def test_a_photograph_of_test_is_dropped_from_train(prepare, photographs):
    paths = three_folders(photographs)
    shutil.copy(photographs.parent / "test" / "k.png", photographs / "leak.png")
    shutil.copy(photographs.parent / "test" / "l.png", photographs.parent / "val" / "leak.png")
    prepared = prepare(text(paths))
    assert prepared.counts == {"train": 8, "val": 2, "test": 2}
    dropped = [(Path(one).name, Path(other).name) for one, other in prepared.duplicates]
    assert dropped == [("leak.png", "l.png"), ("leak.png", "k.png")]
    assert len(set(contents(prepared).values())) == 12


def test_a_split_folder_inside_the_training_folder_is_taken_out_of_it(prepare, photographs):
    (photographs / "test").mkdir()
    for name in "kl":
        (photographs / f"{name}.png").rename(photographs / "test" / f"{name}.png")
    path = f"{{train: {photographs}, test: {photographs / 'test'}}}"
    prepared = prepare(text(path))
    assert prepared.counts == {"train": 8, "val": 2, "test": 2}
    assert not prepared.duplicates


def test_a_test_folder_of_validation_photographs_only_is_refused(prepare, photographs):
    paths = three_folders(photographs)
    shutil.rmtree(photographs.parent / "val")
    shutil.copytree(photographs.parent / "test", photographs.parent / "val")
    with pytest.raises(
        UserError, match="the folder of val has only photographs that are elsewhere"
    ):
        prepare(text(paths))


def test_too_few_photographs(prepare, photographs):
    with pytest.raises(UserError) as caught:
        prepare(text(photographs, counts="val: 5, test: 6"))
    (mistake,) = caught.value.mistakes
    assert re.fullmatch(r".*challenge\.yaml:3", mistake.place)
    assert mistake.cause == (
        "12 different photographs are too few, 13 are needed (6 test + 5 val + 2 train)"
    )


def test_every_bad_photograph_is_named_at_once(prepare, photographs, noise_picture, tmp_path):
    (photographs / "empty.png").touch()
    (photographs / "text.jpg").write_text("hello")
    noise_picture(1, 1, 1).save(photographs / "one.png")
    noise_picture(2, 31, 200).save(photographs / "flat.png")
    content = (photographs / "a.png").read_bytes()
    (photographs / "cut.png").write_bytes(content[:2000])
    with pytest.raises(UserError) as caught:
        prepare(text(photographs))
    found = causes(caught)
    assert (
        list(found) == sorted(found) == ["cut.png", "empty.png", "flat.png", "one.png", "text.jpg"]
    )
    assert found["cut.png"].startswith("is damaged, ")
    assert found["empty.png"] == "is empty"
    assert found["flat.png"] == "is too small, 200x31 pixels"
    assert found["one.png"] == "is too small, 1x1 pixels"
    assert found["text.jpg"] == "is no picture, or damaged"
    assert "the shorter side needs 32 pixels here" in str(caught.value)
    assert not (tmp_path / "workspace" / "public" / "mine").exists()


def test_a_photograph_smaller_than_the_kernel_is_refused(prepare, photographs):
    big = text(photographs, size=64).replace("kind: gaussian, std: 1.0", "kind: uniform, size: 49")
    with pytest.raises(UserError, match="is too small, 56x48 pixels; the shorter side needs 49"):
        prepare(big)


def test_files_that_are_no_pictures_are_passed_over(prepare, photographs):
    for name in ("README.txt", ".DS_Store", ".hidden.png", "clip.mov"):
        (photographs / name).write_text("x")
    assert sum(prepare(text(photographs)).counts.values()) == 12


def test_two_photographs_with_one_id_are_refused(prepare, photographs, noise_picture):
    (photographs / "more").mkdir()
    noise_picture(50).save(photographs / "more" / "A.png")
    noise_picture(51).save(photographs / "b c.png")
    noise_picture(52).save(photographs / "b_c.jpg")
    with pytest.raises(UserError) as caught:
        prepare(text(photographs))
    lines = {str(mistake).replace(f"{photographs}/", "") for mistake in caught.value.mistakes}
    assert lines == {
        "b_c.jpg: gives the same id as `b c.png`; rename one of the two",
        "more/A.png: gives the same id as `a.png`; rename one of the two",
    }


def test_names_are_made_safe(prepare, photographs, noise_picture):
    noise_picture(50).save(photographs / "my best (1) ä.png")
    prepared = prepare(text(photographs, counts="val: 1, test: 1"))
    identities = open_challenge(prepared.public.path).ids("train")
    named = {*identities, *open_challenge(prepared.public.path).ids("val")}
    assert all(re.fullmatch("[A-Za-z0-9_-]+", identity) for identity in named)


def test_formats_and_modes_may_be_mixed(prepare, photographs, noise_picture):
    """A colour and a grey challenge from every format; grey photographs are counted."""
    for number, (name, mode) in enumerate(
        [
            ("p.bmp", "RGB"),
            ("q.webp", "RGBA"),
            ("r.tif", "L"),
            ("s.png", "P"),
            ("t.jpg", "CMYK"),
            ("u.png", "LA"),
            ("v.png", "1"),
        ]
    ):
        noise_picture(100 + number).convert(mode).save(photographs / name)
    grey = noise_picture(200, channels=1)
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(photographs / "w.png")
    notices: list[str] = []
    colour = prepare(text(photographs, counts="val: 8, test: 8"), notices=notices)
    assert sum(colour.counts.values()) == 20
    assert notices == ["4 of 20 photographs are grey; their channel is repeated"]
    opened = open_challenge(colour.public.path)
    assert {opened.train.shape(index)[0] for index in range(len(opened.train))} == {3}
    notices.clear()
    prepared = prepare(
        text(photographs, mode="grey", counts="val: 8, test: 8"), force=True, notices=notices
    )
    assert not notices
    opened = open_challenge(prepared.public.path)
    assert {each.image[0] for each in opened.test.shapes} == {1}
    assert opened.truth(opened.ids("val")[0]).shape[0] == 1
    assert opened.problem.channels == 1
    assert opened.train[0].shape[0] == 1


def test_a_missing_folder_names_the_line(prepare, photographs):
    with pytest.raises(UserError) as caught:
        prepare(text("nowhere"))
    assert re.fullmatch(
        r".*challenge\.yaml:3: there is no folder `nowhere`; give the path of your photographs",
        str(caught.value),
    )
    path = f"{{train: {photographs}, val: no, test: nope}}".replace("no,", "'no',")
    with pytest.raises(UserError) as caught:
        prepare(text(path))
    assert len(caught.value.mistakes) == 2


def test_a_folder_beside_the_yaml_is_found(prepare, photographs):
    assert sum(prepare(text(photographs.name)).counts.values()) == 12


def test_an_empty_folder_is_refused(prepare, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="has no pictures"):
        prepare(text(tmp_path / "none"))
