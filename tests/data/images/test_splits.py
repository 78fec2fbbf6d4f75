"""Splits are disjoint by content, seeded, and every bad photograph is named at once."""

from __future__ import annotations

import hashlib
import json
import os
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


def test_exact_duplicates_are_dropped_and_reported(prepare, photographs, monkeypatch):
    shutil.copy(photographs / "a.png", photographs / "zcopy.png")
    Image.open(photographs / "b.png").save(photographs / "zother.bmp")  # same pixels, other file
    notices: list[str] = []
    monkeypatch.chdir(photographs)
    prepared = prepare(text(Path("..", photographs.name)), notices=notices)
    assert sum(prepared.counts.values()) == 12
    # The judge closes what has the pixels of an image, wherever it is called from.
    recorded = json.loads(prepared.hidden.sources.read_text())
    assert {*recorded.pop("duplicates").values()} == {
        str(photographs / name) for name in ("zcopy.png", "zother.bmp")
    }
    assert all(os.path.isabs(file) for files in recorded.values() for file in files.values())
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


def spoil(folder: Path, noise_picture) -> None:
    """Add five files that cannot be used."""
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("hello")
    noise_picture(1, 1, 1).save(folder / "one.png")
    noise_picture(2, 31, 200).save(folder / "flat.png")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:2000])


CAUSES = {
    "cut.png": "is damaged, image file is truncated",
    "empty.png": "is empty",
    "flat.png": "is too small, 200x31 pixels",
    "one.png": "is too small, 1x1 pixels",
    "text.jpg": "is no picture of a known format",
}


def test_photographs_that_cannot_be_used_are_left_out(prepare, photographs, noise_picture):
    spoil(photographs, noise_picture)
    notices: list[str] = []
    prepared = prepare(text(photographs), notices=notices)
    assert prepared.counts == {"train": 7, "val": 2, "test": 3}
    assert [notice.removeprefix(f"{photographs}/").split("; ")[0] for notice in notices] == [
        f"{name}: {cause}, left out" for name, cause in CAUSES.items()
    ]


def test_every_bad_photograph_is_named_at_once(prepare, photographs, noise_picture, tmp_path):
    spoil(photographs, noise_picture)
    with pytest.raises(UserError) as caught:
        prepare(text(photographs), "images.strict=true")
    assert causes(caught) == CAUSES
    assert "the shorter side needs 32 pixels here" in str(caught.value)
    assert not (tmp_path / "workspace" / "public" / "mine").exists()


def test_too_few_that_are_left_is_an_error(prepare, photographs, noise_picture):
    spoil(photographs, noise_picture)
    with pytest.raises(UserError, match=r"12 different .* too few, 33 are needed .*, 5 left out"):
        prepare(text(photographs, counts="val: 11, test: 20"))


def test_many_bad_photographs_are_a_few_lines(prepare, photographs, noise_picture):
    for number in range(40):
        noise_picture(number, 8, 9).save(photographs / f"small{number:02}.png")
        noise_picture(number, 8, 9 + number).save(photographs / f"other{number:02}.png")
    notices: list[str] = []
    prepare(text(photographs), notices=notices)
    assert len(notices) <= 12
    names = "other00.png, small00.png, small01.png, small02.png, small03.png and 36 more: "
    assert any(notice.startswith(names) for notice in notices)


def test_a_photograph_smaller_than_the_kernel_is_refused(prepare, photographs):
    big = text(photographs, size=64).replace("kind: gaussian, std: 1.0", "kind: uniform, size: 49")
    with pytest.raises(UserError, match="is too small, 56x48 pixels; the shorter side needs 49"):
        prepare(big, "images.strict=true")


def test_files_that_are_no_pictures_are_passed_over(prepare, photographs):
    for name in ("README.txt", ".DS_Store", ".hidden.png", "clip.mov"):
        (photographs / name).write_text("x")
    assert sum(prepare(text(photographs)).counts.values()) == 12


def test_no_two_photographs_have_one_id(prepare, photographs, noise_picture):
    (photographs / "more").mkdir()
    for number, name in enumerate(
        ["more/A.png", "b c.png", "b_c.jpg", "b_c.png", "山.png", "川.png"]
    ):
        noise_picture(50 + number).save(photographs / name)
    (photographs / "a.png").rename(photographs / os.fsdecode(b"caf\xe9.png"))
    prepared = prepare(text(photographs, counts="val: 2, test: 2"))
    assert sum(prepared.counts.values()) == 18
    opened = open_challenge(prepared.public.path, verify=True)
    named = [*opened.ids("train"), *opened.ids("val")]
    assert len({identity.casefold() for identity in named}) == 16
    assert all(re.fullmatch("[A-Za-z0-9_-]+", identity) for identity in named)
    table = json.loads(prepared.hidden.sources.read_text("utf-8"))
    listed = {os.fsencode(path) for rows in table.values() for path in rows.values()}
    assert listed == {os.fsencode(path) for path in photographs.rglob("*.[pj][np]g")}


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
    few = "s.png and v.png: hardly any grey levels, at most 16"
    assert notices == [few, "4 of 20 photographs are grey; their channel is repeated"]
    opened = open_challenge(colour.public.path)
    assert {opened.train.shape(index)[0] for index in range(len(opened.train))} == {3}
    notices.clear()
    prepared = prepare(
        text(photographs, mode="grey", counts="val: 8, test: 8"), force=True, notices=notices
    )
    assert notices == [few]
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


def test_a_file_in_place_of_a_folder_is_said_to_be_one(prepare, photographs):
    file = next(each for each in photographs.iterdir() if each.is_file())
    with pytest.raises(UserError, match=r"` is no folder; give the folder of your photographs"):
        prepare(text(file))


def test_a_folder_beside_the_yaml_is_found(prepare, photographs):
    assert sum(prepare(text(photographs.name)).counts.values()) == 12


def test_an_empty_folder_is_refused(prepare, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="has no pictures"):
        prepare(text(tmp_path / "none"))


def test_flat_images_are_named(prepare, photographs):
    """In what is kept: a crop of the sky, of a photograph that has more."""
    sky = np.random.default_rng(0).integers(256, size=(160, 160, 3)).astype(np.uint8)
    sky[40:120, 40:120] = 200
    for name in ("sky1.png", "sky2.png"):
        Image.fromarray(sky + (name == "sky2.png") * np.uint8(1)).save(photographs / name)
    notices: list[str] = []
    prepared = prepare(text(photographs, counts="val: 6, test: 6"), notices=notices)
    table = sources(prepared)
    for split in ("val", "test"):
        flat = [name for name in table[split].values() if name.startswith("sky")]
        said = [notice for notice in notices if f"hardly any detail in what {split} has" in notice]
        assert bool(flat) == bool(said)
        assert all(name in said[0] for name in flat)
    Image.new("RGB", (60, 60), "teal").save(photographs / "wall.png")
    notices.clear()
    for seed in range(9):
        prepared = prepare(text(photographs), f"seed={seed}", force=True, notices=notices)
        if "wall.png" in sources(prepared)["train"].values():
            break
    assert f"{photographs}/wall.png: hardly any detail in what train has of it" in notices


def test_a_split_that_leaves_little_to_train_on_is_answered_with_a_better_one(
    prepare, photographs, noise_picture
):
    for number in range(3):
        noise_picture(100 + number).save(photographs / f"{number}.png")
    prepared = prepare(text(photographs, counts="val: 5, test: 8"))
    assert prepared.counts == {"train": 2, "val": 5, "test": 8}
    assert prepared.proposal == "images.val=2 images.test=3"
    better = prepare(
        text(photographs, counts="val: 5, test: 8"), *prepared.proposal.split(), force=True
    )
    assert better.counts == {"train": 10, "val": 2, "test": 3}
    assert better.proposal == ""
    with pytest.raises(UserError, match="add some, or give `images.val=2 images.test=3`"):
        prepare(text(photographs, counts="val: 9, test: 9"), force=True)
