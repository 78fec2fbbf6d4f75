"""The seal notices every change of truth, measurements, key or metric, and gives nothing away."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges import seal
from challenge.data.layout import Hidden, Public


@pytest.fixture
def copy(small, tmp_path) -> tuple[Public, Hidden]:
    """A copy that may be damaged."""
    shutil.copytree(small.public.path, tmp_path / "public")
    shutil.copytree(small.hidden.path, tmp_path / "hidden")
    return Public(tmp_path / "public"), Hidden(tmp_path / "hidden")


def mistakes(public: Public, hidden: Hidden) -> list[tuple[str, str]]:
    with pytest.raises(UserError) as caught:
        seal.verify(public, hidden)
    return [(mistake.place, mistake.cause) for mistake in caught.value.mistakes]


def test_an_untouched_challenge_verifies(small, copy):
    assert seal.verify(*copy) == small.seal


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))


KINDS = pytest.mark.parametrize("place", [Hidden.image, Hidden.measurement])


@KINDS
def test_a_changed_file_is_named(copy, place):
    flip(place(copy[1], "0002"))
    assert mistakes(*copy) == [(str(place(copy[1], "0002")), "was changed")]


@KINDS
def test_exchanged_files_are_named(copy, place):
    one, other = place(copy[1], "0001"), place(copy[1], "0003")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert mistakes(*copy) == [(str(one), "was changed"), (str(other), "was changed")]


@KINDS
def test_missing_and_added_files_are_named(copy, place):
    place(copy[1], "0002").rename(place(copy[1], "0004"))
    assert mistakes(*copy) == [
        (str(place(copy[1], "0002")), "is missing"),
        (str(place(copy[1], "0004")), "was not sealed"),
    ]


def test_an_older_seal_covers_the_truth_alone(copy, to_format_1):
    """And a measurement that is put beside it was not sealed."""
    to_format_1(*copy)
    record = seal.read(copy[1])
    assert "measurements" not in record
    assert seal.verify(*copy) == record["seal"]
    shutil.copy(copy[0].measurement("test", "0001"), copy[1].measurement("0001"))
    assert mistakes(*copy) == [(str(copy[1].measurement("0001")), "was not sealed")]
    copy[1].measurement("0001").unlink()
    flip(copy[1].image("0002"))
    assert mistakes(*copy) == [(str(copy[1].image("0002")), "was changed")]


def test_a_seal_cannot_be_made_older(copy):
    """Who leaves the measurements out, so as to change one, has another seal."""
    flip(copy[1].measurement("0002"))
    record = {**json.loads(copy[1].seal.read_text()), "format": 1}
    del record["measurements"]
    copy[1].seal.write_text(json.dumps(record))
    assert (str(copy[1].seal), "does not hash to its own seal") in mistakes(*copy)


def test_a_changed_or_missing_key_is_named(copy):
    flip(copy[1].key)
    assert mistakes(*copy) == [(str(copy[1].key), "was changed")]
    copy[1].key.unlink()
    assert mistakes(*copy) == [(str(copy[1].key), "is missing")]


def test_a_changed_crop_is_named(copy):
    text = copy[0].config.read_text()
    copy[0].config.write_text(text.replace("crop: 0", "crop: 2"))
    ((place, cause),) = mistakes(*copy)
    assert place == str(copy[0].config)
    assert '"crop":2' in cause
    assert '"crop":0' in cause


def test_another_metric_is_named(copy, monkeypatch):
    monkeypatch.setattr(seal, "METRIC", {**seal.METRIC, "version": 99})
    ((_, cause),) = mistakes(*copy)
    assert '"version":99' in cause


def test_a_rewritten_record_does_not_help(copy):
    """Who changes an image and seals it anew has another seal than the published one."""
    flip(copy[1].image("0002"))
    record = json.loads(copy[1].seal.read_text())
    record["images"]["0002"] = hashlib.sha256(copy[1].image("0002").read_bytes()).hexdigest()
    copy[1].seal.write_text(json.dumps(record))
    assert mistakes(*copy) == [(str(copy[1].seal), "does not hash to its own seal")]
    made = seal.make(copy[1], crop=0)
    copy[1].seal.write_text(json.dumps(made))
    ((_, cause),) = mistakes(*copy)
    assert cause.startswith(f"has seal `{made['seal'][:16]}`, published is `")


def test_damaged_and_missing_records_are_told(copy):
    copy[1].seal.write_text("{}")
    assert mistakes(*copy) == [(str(copy[1].seal), "is damaged")]
    copy[1].seal.unlink()
    assert mistakes(*copy) == [(str(copy[1].path), "is not the hidden folder of a challenge")]


def test_the_salt_keeps_guesses_from_being_tested(small):
    """Who knows all images and the key cannot tell them from the seal without the salt."""
    record = seal.read(small.hidden)
    assert len(bytes.fromhex(record["salt"])) == 32
    assert seal.make(small.hidden, crop=0)["seal"] != small.seal
    for path in small.public.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert record["salt"].encode() not in content
            secret = [*record["images"].values(), *record["measurements"].values()]
            for digest in [*secret, record["key"]]:
                assert digest.encode() not in content
