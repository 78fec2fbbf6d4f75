"""Where the test measurements lie, and that nothing public reveals hidden ones."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.data.challenges import seal
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import Prepared
from challenge.data.challenges.test_set import summarise
from challenge.data.images.contact_sheet import Sheet, to_picture
from challenge.data.layout import Hidden, Public
from challenge.data.physics.measurements import read

TEXT = """
name: small
images: {source: builtin, size: 64, train: 4, val: 2, test: 3}
operator: {kernel: {kind: motion, size: 9, count: 3}, boundary: valid}
noise: {sigma: 0.03}
"""


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_both_rules_hold_what_they_must(small: Prepared, published: Prepared):
    """The hidden folders are the same but for the seal; publishing adds files, and takes none."""
    hidden, all_of_it = files(small.hidden.path), files(published.hidden.path)
    assert hidden.keys() == all_of_it.keys()
    # `rules.yaml` has the challenge's hash in it.
    differing = {name for name in hidden if hidden[name] != all_of_it[name]}
    assert differing == {"seal.json", "rules.yaml"}
    fewer, more = files(small.public.path), files(published.public.path)
    added = {f"test/{identity}.npz" for identity in small.hidden.ids()}
    assert more.keys() - fewer.keys() == added | {"contact-test.png"}
    assert {name for name in fewer if fewer[name] != more.get(name)} == {
        "challenge.yaml",
        "manifest.json",
        "rules.yaml",
    }
    for name in added:
        assert more[name] == hidden[name]
    for prepared in (small, published):
        assert seal.verify(prepared.public, prepared.hidden) == prepared.seal
        assert stat.S_IMODE((prepared.hidden.path / "test").stat().st_mode) == 0o700


def test_hidden_is_what_a_challenge_says_nothing_about(prepare):
    config, _ = load_challenge(str(prepare().public.config))
    assert config.rules.test_measurements == "hidden"


def test_a_slip_in_the_rule_is_told_as_any_other(prepare):
    with pytest.raises(UserError) as caught:
        prepare(TEXT, "rules.test_measurements=hiden")
    (mistake,) = caught.value.mistakes
    assert mistake.place == "`rules.test_measurements=hiden`"
    assert "did you mean `hidden`?" in str(mistake)


def revealing(hidden: Hidden) -> Iterator[tuple[str, bytes]]:
    """What would tell of a measurement, if it stood in a public file."""
    record = seal.read(hidden)
    for identity in hidden.ids():
        content = hidden.measurement(identity).read_bytes()
        y = read(hidden.measurement(identity)).y
        yield "file", content
        yield "a row of y", y[0, 20].tobytes()
        yield "a row as a picture", to_picture(y)[0, 20].tobytes()
        sealed = record["measurements"][identity]
        digests = [sealed, *(hashlib.sha256(each).hexdigest() for each in (content, y.tobytes()))]
        for name in ("sha256", "sha1", "md5"):
            digests.append(hashlib.new(name, content).hexdigest())
        for each in digests:
            yield "digest", each.encode()
            yield "digest", bytes.fromhex(each)
        yield "name", f"test/{identity}".encode()


def thumbnail(prepared: Prepared, identity: str) -> np.ndarray:
    """A measurement as a contact sheet shows it: shape (160, 160, 3), without the page."""
    sheet = Sheet("", 1)
    sheet.add(identity, to_picture(read(prepared.hidden.measurement(identity)).y))
    return np.asarray(sheet._cells[0][1][0])


def pictures(prepared: Prepared) -> Iterator[bytes]:
    """Every row of every channel of every public picture, and all other files as they are."""
    for path in prepared.public.path.rglob("*"):
        if path.suffix == ".png":
            with Image.open(path) as picture:
                yield np.asarray(picture.convert("RGB")).transpose(0, 2, 1).tobytes()
        elif path.suffix == ".npz" and path != prepared.public.operator:
            yield to_picture(read(path).y).tobytes()
        if path.is_file():
            yield path.read_bytes()


def found(prepared: Prepared) -> set[str]:
    """What of the hidden measurements stands somewhere in the public folder."""
    needles = list(revealing(prepared.hidden))
    for identity in prepared.hidden.ids():
        shown = thumbnail(prepared, identity).transpose(0, 2, 1)
        needles += [("thumbnail", np.ascontiguousarray(shown[40, 0]).tobytes())]
    return {what for content in pictures(prepared) for what, needle in needles if needle in content}


def test_nothing_public_reveals_a_hidden_measurement(small: Prepared):
    assert not found(small)
    assert not small.public.sheet("test").exists()
    assert not (small.public.path / "test").exists()


def test_where_they_are_published_the_same_search_finds_them(published: Prepared):
    assert found(published) == {
        "file", "a row of y", "a row as a picture", "digest", "name", "thumbnail"
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["hidden", "published"])
def test_number_shapes_and_operator_are_public(prepare, rule):
    prepared = prepare(TEXT, f"rules.test_measurements={rule}")
    test = open_challenge(prepared.public.path).test
    assert (test.operator, test.count) == ("blur", 3)
    (shapes,) = test.shapes
    assert (shapes.image, shapes.measurement, shapes.count) == ((3, 64, 64), (3, 56, 56), 3)
    stored = json.loads(prepared.public.manifest.read_text())["test"]
    assert stored == {
        "operator": "blur",
        "shapes": [{"image": [3, 64, 64], "measurement": [3, 56, 56], "count": 3}],
    }


def test_shapes_stand_in_no_order_of_images(prepare, photographs, noise_picture):
    """Images of several sizes are counted by size, and which of them come first is not told."""
    for number in range(12):
        noise_picture(100 + number, 40, 36).save(photographs / f"small{number}.png")
    text = TEXT.replace(
        "{source: builtin, size: 64, train: 4, val: 2, test: 3}",
        f"{{source: folder, path: {photographs}, size: 44, val: 2, test: 12}}",
    )
    prepared = prepare(text)
    found = open_challenge(prepared.public.path).test
    assert [each.image for each in found.shapes] == [(3, 40, 36), (3, 44, 44)]
    assert found.count == 12
    measured = [read(prepared.hidden.measurement(each)) for each in prepared.hidden.ids()]
    measured.sort(key=lambda each: each.shape)
    assert summarise("blur", measured) == summarise("blur", measured[::-1]) == found


def test_ids_and_measurements_are_refused_in_one_line(small: Prepared, published: Prepared):
    opened = open_challenge(small.public.path)
    for ask in (lambda: opened.ids("test"), lambda: opened.measurement("test", "0001")):
        with pytest.raises(UserError) as caught:
            ask()
        assert str(caught.value) == (
            f"{small.public.path}: its test measurements are hidden; "
            "use val: the judge hands those of test to an entry"
        )
    opened = open_challenge(published.public.path)
    for identity in opened.ids("test"):
        stored = read(published.hidden.measurement(identity))
        assert np.array_equal(opened.measurement("test", identity).y, stored.y)


@pytest.fixture
def older(small: Prepared, tmp_path, to_format_1) -> tuple[Public, Hidden]:
    """The same challenge as a toolkit before format 2 prepared it."""
    shutil.copytree(small.public.path, tmp_path / "public")
    shutil.copytree(small.hidden.path, tmp_path / "hidden")
    folders = Public(tmp_path / "public"), Hidden(tmp_path / "hidden")
    to_format_1(*folders)
    return folders


def test_an_older_challenge_opens_as_published(older, small: Prepared):
    public, hidden = older
    assert not hidden.measured()
    opened = open_challenge(public.path, verify=True)
    assert opened.format == 1
    assert opened.config.rules.test_measurements == "published"
    assert opened.ids("test") == hidden.ids() == ["0001", "0002", "0003"]
    assert opened.test == open_challenge(small.public.path).test
    for identity in opened.ids("test"):
        stored = read(small.hidden.measurement(identity))
        assert np.array_equal(opened.measurement("test", identity).y, stored.y)
    assert len(opened.train) == 4


def test_an_older_challenge_is_replaced_with_force(prepare, to_format_1):
    prepared = prepare(TEXT)
    to_format_1(prepared.public, prepared.hidden)
    again = prepare(TEXT, force=True)
    assert open_challenge(again.public.path, verify=True).format == 3
    assert not (again.public.path / "test").exists()
    assert seal.verify(again.public, again.hidden) == again.seal
