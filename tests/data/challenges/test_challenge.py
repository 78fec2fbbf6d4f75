"""Opening the public folder of a challenge: whole, or refused with what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Public


@pytest.fixture
def public(small, tmp_path) -> Public:
    shutil.copytree(small.public.path, tmp_path / "small")
    return Public(tmp_path / "small")


def refusal(public: Public, **options: bool) -> list[str]:
    with pytest.raises(UserError) as caught:
        open_challenge(public.path, **options)
    return [str(m).replace(f"{public.path}/", "") for m in caught.value.mistakes]


def test_what_a_team_finds(public):
    opened = open_challenge(str(public.path), verify=True)
    assert opened.config.name == opened.problem.name == "small"
    assert opened.channels == 3
    assert opened.practice
    assert opened.hash == hashlib.sha256(public.manifest.read_bytes()).hexdigest()
    assert opened.ids("train") == opened.train.ids
    assert len(opened.ids("val")) == 2
    for identity in opened.ids("val"):
        truth = opened.truth(identity)
        assert truth.shape == opened.measurement("val", identity).shape == (3, 64, 64)
        assert truth.dtype == np.float32
        assert truth.min() >= 0
        assert truth.max() <= 1
    with pytest.raises(UserError, match="there is no such image"):
        opened.truth("0001")


def test_a_folder_that_is_no_challenge(tmp_path):
    with pytest.raises(UserError) as caught:
        open_challenge(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: is not a prepared challenge; nothing is prepared here: give another "
        "`--workspace`, or `challenge prepare FILE.yaml`"
    )
    made = re.escape(f"make it with `challenge prepare levin --workspace {tmp_path}`")
    with pytest.raises(UserError, match=made):
        open_challenge(tmp_path / "public" / "levin")
    (tmp_path / "public" / "mine").mkdir(parents=True)
    (tmp_path / "public" / "mine" / "manifest.json").write_bytes(b"")
    with pytest.raises(UserError, match=r"did you mean `mine`\? prepared here: mine"):
        open_challenge(tmp_path / "public" / "mime")


def test_a_missing_file_is_named(public):
    name = open_challenge(public.path).ids("val")[1]
    public.measurement("val", name).unlink()
    assert refusal(public) == [f"val/{name}.npz: is missing; get a fresh copy of the challenge"]


def test_many_missing_files_are_counted(public):
    for split in ("train", "val"):
        shutil.rmtree(public.path / split)
    for split in ("train", "val"):
        public.sheet(split).unlink()
    lines = refusal(public)
    assert len(lines) == 9
    assert "and 2 more files are wrong" in lines[-1]


def test_a_changed_file_is_named_when_hashes_are_checked(public):
    name = open_challenge(public.path).ids("val")[1]
    path = public.measurement("val", name)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(bytes(content))
    open_challenge(public.path)
    assert refusal(public, verify=True) == [
        f"val/{name}.npz: was changed since `prepare`; get a fresh copy of the challenge"
    ]


def test_a_foreign_file_in_a_split_is_named_but_not_elsewhere(public):
    (public.path / "notes.txt").touch()
    (public.path / "train" / ".DS_Store").touch()
    open_challenge(public.path)
    public.measurement("val", "0009").touch()
    assert refusal(public) == ["val/0009.npz: does not belong to the challenge; remove it"]
    public.measurement("val", "0009").unlink()
    public.measurement("test", "0001").parent.mkdir()
    public.measurement("test", "0001").touch()
    assert refusal(public) == ["test/0001.npz: does not belong to the challenge; remove it"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"format": 1, "files": 3}'])
def test_a_damaged_manifest_is_told(public, text):
    public.manifest.write_text(text)
    assert refusal(public) == ["manifest.json: is damaged; get a fresh copy of the challenge"]


@pytest.mark.parametrize("test", [None, {}, {"operator": "blur", "shapes": [{"count": 3}]}])
def test_a_damaged_summary_of_the_test_set_is_told(public, test):
    manifest = json.loads(public.manifest.read_text())
    public.manifest.write_text(json.dumps({**manifest, "test": test}))
    assert refusal(public) == ["manifest.json: is damaged; get a fresh copy of the challenge"]


def test_another_format_is_told(public):
    manifest = json.loads(public.manifest.read_text())
    public.manifest.write_text(json.dumps({**manifest, "format": 4}))
    assert refusal(public) == [
        "manifest.json: has format `4`, this toolkit reads `1` to `3`; "
        "install the toolkit's version that prepared it"
    ]


def test_a_damaged_operator_is_told(public):
    public.operator.write_bytes(public.operator.read_bytes()[:100])
    with pytest.raises(UserError, match=r"operator\.npz: is damaged"):
        _ = open_challenge(public.path).problem


def test_a_damaged_training_image_is_told(public):
    path = public.image("train", open_challenge(public.path).ids("train")[0])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="is a damaged PNG file"):
        _ = open_challenge(public.path).train[0]
