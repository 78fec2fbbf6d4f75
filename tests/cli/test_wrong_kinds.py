"""Every command that gets a thing of another kind says what it got, and what it wants."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from challenge.data.layout import Workspace
from challenge.submissions import layout

TV = "workspace/runs/deblur/tv"
ENTRY = "workspace/entries/alpha-tv.zip"
HIDDEN = "workspace/hidden/deblur"

THINGS = {
    "nothing": ("absent", "does not exist"),
    "an empty folder": ("empty", "is an empty folder"),
    "a folder of pictures": ("pictures", "is a folder"),
    "a run": (TV, "is a run"),
    "an entry": (ENTRY, "is a packed entry"),
    "a cut-off zip": ("cut.zip", "is a damaged zip"),
    "another zip": ("other.zip", "is a zip, but no entry"),
    "a public folder": ("workspace/public/deblur", "is the public folder of a challenge"),
    "a hidden folder": (HIDDEN, "is the hidden folder of a challenge"),
    "a workspace": ("workspace", "is a workspace"),
    "a kit": ("workspace/deblur-kit.zip", "is the kit for teams"),
    "a challenge": ("mine.yaml", "is a challenge's YAML file"),
    "a config": ("tv2.yaml", "is the config of a method"),
    "a Python file": ("method.py", "is a Python file"),
    "a picture": ("x.png", "is a picture"),
    "a text": ("notes.txt", "is a file"),
    "a pipe": ("pipe", "is a pipe"),
}
COMMANDS = {
    "infer": (["infer", "THING"], {"a run"}, "give a run's folder"),
    "score": (["score", "THING"], {"a run", "an entry"}, "give a run's folder"),
    "score --hidden": (
        ["score", "THING", "--hidden", HIDDEN],
        {"an entry", "a cut-off zip", "another zip"},
        "give a zip made by `challenge pack`",
    ),
    "--hidden": (["score", ENTRY, "--hidden", "THING"], {"a hidden folder"}, "the hidden folder"),
    "seal --hidden": (["seal", "deblur", "--hidden", "THING"], {"a hidden folder"}, "the hidden"),
    "compare": (["compare", "THING"], {"a run", "an entry"}, "give a run's folder"),
    "report": (["report", "THING"], {"a run", "an entry"}, "give a run's folder"),
    "analyse": (["analyse", "THING"], {"a run", "an entry"}, "give a run's folder"),
    "pack": (["pack", "THING", "--team", "alpha"], {"a run", "an entry"}, "give a run"),
    "check": (["check", "THING"], {"an entry"}, "give a zip made by `challenge pack`"),
    "train": (["train", "THING"], {"a run", "a config"}, "a method's config"),
    "prepare": (["prepare", "THING"], {"a challenge"}, "a challenge"),
    "methods": (["methods", "THING"], {"a Python file"}, "a method's name"),
    "kit": (["kit", "THING"], set(), "name"),
    "board": (["board", "THING"], set(), "name"),
    "seal": (["seal", "THING"], set(), "name"),
    "reveal": (["reveal", "THING"], set(), "name"),
    "amend": (["amend", "THING"], set(), "name"),
}
OTHER_WORDS = {
    # Damaged zips and strange ones: the checker's own words are better.
    "a cut-off zip": {
        command: "is cut off"
        for command in ("analyse", "compare", "report", "pack", "check", "score --hidden")
    },
    "another zip": {
        command: ""
        for command in ("analyse", "compare", "report", "pack", "check", "score --hidden")
    },
    # A name may be meant.
    "nothing": {
        "train": "no such config",
        "prepare": "no such config",
        "methods": "there is no method `absent`",
        "kit": "is not a prepared challenge",
        "seal": "is not a prepared challenge",
        "reveal": "is not a prepared challenge",
        "amend": "is not a prepared challenge",
        "board": "has no results of `absent`",
        "pack": "does not exist",
    },
}  # fmt: skip
NAMED = ("an empty folder", "a folder of pictures", "a workspace", "a pipe")
"""Things whose names could be those of a challenge or a method."""


@pytest.fixture(scope="module")
def things(story, call, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("things")
    shutil.copytree(story / "workspace", folder / "workspace")
    assert call(folder, "kit", "deblur").code == 0
    for name in ("empty", "pictures"):
        (folder / name).mkdir()
    (folder / "pictures" / "x.jpg").write_bytes(b"\xff\xd8")
    (folder / "cut.zip").write_bytes((folder / ENTRY).read_bytes()[:-40])
    with zipfile.ZipFile(folder / "other.zip", "w") as file:
        file.writestr("x.txt", "x")
    from challenge.configs.paths import names

    shutil.copyfile(names("challenges")["deblur"], folder / "mine.yaml")
    shutil.copyfile(names("methods")["tv"], folder / "tv2.yaml")
    (folder / "method.py").write_text("x = 1\n")
    (folder / "x.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("x")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("which", COMMANDS)
def test_what_is_of_another_kind_is_named_and_what_is_wanted_too(things, call, which):
    command, takes, wanted = COMMANDS[which]
    before = sorted(path for path in things.rglob("*") if ".locks" not in path.parts)
    wrong = {}
    for thing, (path, word) in THINGS.items():
        if thing in takes:
            continue
        said_otherwise = OTHER_WORDS.get(thing, {}).get(which)
        done = call(things, *(each.replace("THING", path) for each in command))
        lines = [line for line in done.err.splitlines() if line.strip()]
        where = f"error: {path}: {word}"
        # Exactly one line, which begins with what was given and says the way.
        good = done.code == 2 and len(lines) == 1 and lines[0].count("; ") >= 1
        if said_otherwise is not None:
            good = done.code == 2 and said_otherwise in done.err
        elif which in ("kit", "board", "seal", "reveal", "amend", "methods") and thing in NAMED:
            good = done.code == 2 and len(lines) == 1
        else:
            good = good and lines[0].startswith(where) and "remedy" not in lines[0]
        if not good:
            wrong[thing] = done.err
    assert wrong == {}
    after = sorted(path for path in things.rglob("*") if ".locks" not in path.parts)
    assert after == before, "something was written"


WAYS = (
    (["infer", ENTRY], "`challenge check workspace/entries/alpha-tv.zip --run` tries"),
    (["check", TV], "pack it: `challenge pack workspace/runs/deblur/tv --team TEAM`"),
    (["infer", "tv2.yaml"], "train it: `challenge train tv2.yaml`"),
    (["train", "method.py"], "`method: {name: method.py}`"),
    (["train", "mine.yaml"], "prepare it: `challenge prepare mine.yaml`"),
    (["prepare", "tv2.yaml"], "train it: `challenge train tv2.yaml`"),
    (["prepare", "mine"], "a file is given with its ending: `mine.yaml`"),
    (["train", "tv2"], "a file is given with its ending: `tv2.yaml`"),
    (["kit", "workspace/public/deblur"], "`challenge kit deblur`"),
    (["board", "nosuch"], "has no results of `nosuch`; there are results of deblur"),
    (["board", "debur"], "did you mean `deblur`?"),
    (["kit", "debur"], "did you mean `deblur`? prepared here: deblur"),
    (["kit", "levin"], "make it with `challenge prepare levin`"),
    (
        ["kit", "levin", "--workspace", "new place"],
        "make it with `challenge prepare levin --workspace 'new place'`",
    ),
    (["infer", "workspace/runs/deblur/tv1"], "did you mean `workspace/runs/deblur/tv`?"),
    (["train", "workspace/runs/deblur/tv1", "--resume"], "mean `workspace/runs/deblur/tv`?"),
    (["score", ENTRY, "--hidden", "workspace/public/deblur"], "workspace/hidden/deblur`"),
    (["compare", TV, "--out", "new/folder/x.png"], "there is no folder `new/folder`"),
)


@pytest.mark.parametrize(("command", "way"), WAYS)
def test_the_way_is_said(things, call, command, way):
    done = call(things, *command)
    assert done.code == 2
    assert way in done.err
    assert not (things / "new").exists()
    assert not (things / "new place").exists()


def test_a_folder_may_have_the_name_of_a_config(call, tmp_path):
    """It is not taken for it; and one of a challenge neither."""
    for name in ("tv", "deblur"):
        (tmp_path / name).mkdir()
    done = call(tmp_path, "train", "tv")
    assert "workspace/public/deblur: is not a prepared challenge" in done.err
    assert call(tmp_path, "prepare", "deblur", "images.train=4", "images.size=64").code == 0


def test_the_others_are_checked_beside_one_that_is_no_entry(things, call):
    done = call(things, "check", "pipe", ENTRY, "empty")
    assert done.code == 2
    assert f"{ENTRY}: ok" in done.out
    assert len(done.err.splitlines()) == 2


@pytest.fixture
def two(things, call, tmp_path) -> Path:
    """The same workspace with another challenge, `second`, for which an entry is packed too."""
    shutil.copytree(things / "workspace", tmp_path / "workspace")
    small = ["images.train=4", "images.val=1", "images.test=1", "images.size=64"]
    for command in (
        ["prepare", "deblur", "name=second", *small],
        ["pack", ENTRY, "--team", "alpha", "--challenge", "second"],
    ):
        done = call(tmp_path, *command)
        assert done.code == 0, done.err
    return tmp_path


def test_a_wrong_hidden_folder_stores_no_verdict(two, call):
    place = Workspace(two / "workspace")
    second = "workspace/entries/alpha-tv-second.zip"
    before = sorted(layout.results(place).glob("*.json"))
    done = call(two, "score", second, "--hidden", HIDDEN)
    assert done.code == 2
    said = "is packed for `second`, the hidden folder is that of `deblur`; give `--hidden "
    assert f"{second}: {said}workspace/hidden/second`" in done.err
    assert sorted(layout.results(place).glob("*.json")) == before
    # Beside an entry of this challenge it is left out.
    done = call(two, "score", second, ENTRY, "--hidden", HIDDEN)
    assert done.code == 0, done.err
    assert f"not judged: {second}: is packed for `second`" in done.err
    assert sorted(layout.results(place).glob("*.json")) == before


def test_pack_keeps_the_zip_of_another_challenge(two, call):
    assert (two / "workspace/entries/alpha-tv-second.zip").is_file()
    done = call(two, "check", "workspace/entries/alpha-tv.zip")
    assert "ok (deblur allows it)" in done.out


def test_a_baseline_is_packed_for_the_challenge_that_is_here(things, two, call, tmp_path):
    """Whatever it was trained on; where there are several, one is named."""
    done = call(things, "pack", "lista", "--team", "baseline")
    assert done.code == 0, done.err
    done = call(two, "pack", "lista", "--team", "baseline")
    assert done.code == 2
    assert (
        "lista: may be packed for any challenge; name one, `--challenge NAME`: deblur, second"
        in (done.err)
    )
    assert call(two, "pack", "lista", "--team", "baseline", "--challenge", "second").code == 0
    (tmp_path / "new").mkdir()
    done = call(tmp_path / "new", "pack", "lista", "--team", "baseline")
    assert "no challenge is prepared here; make one, `challenge prepare deblur`" in done.err


def test_pack_says_that_infer_failed(things, call, tmp_path):
    import json

    shutil.copytree(things / "workspace", tmp_path / "workspace")
    path = layout.Run(tmp_path / TV).inference("val")
    record = json.loads(path.read_text()) | {"outcome": "timeout", "cause": "took too long"}
    path.write_text(json.dumps(record))
    done = call(tmp_path, "pack", TV, "--team", "alpha")
    assert done.code == 0
    assert "`challenge infer` ended with timeout: took too long: the judge's verdict" in done.err


def test_a_cut_off_zip_is_not_a_team_that_is_not_listed(things, call, tmp_path):
    shutil.copytree(things / "workspace", tmp_path / "workspace")
    (tmp_path / "workspace/teams.yaml").write_text("teams:\n  alpha: {}\n")
    shutil.copyfile(things / "cut.zip", tmp_path / "cut.zip")
    done = call(tmp_path, "score", "cut.zip", "--hidden", HIDDEN)
    assert "cut.zip: invalid_entry: cut.zip: is cut off" in done.err
    done = call(tmp_path, "board")
    assert "not in the list of teams" not in done.err
    assert ": nothing in it says whose it is" in done.err


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".tiff", ".jp2", ".avif", ".pgm", ".heic"])
def test_every_picture_that_prepare_knows_is_called_one(tmp_path, suffix):
    from challenge.cli.shared import kinds

    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"\0\0")
    assert kinds.kind_of(path) == "picture"


def test_no_image_has_no_time():
    from challenge.cli.shared.dry_run import timing
    from challenge.submissions.inference.supervisor import Inference

    fields = {"outcome": "crash", "cause": "x", "seconds": {}, "total": 3.0, "start_up": 1.0}
    found = object.__new__(Inference)
    for name, value in fields.items():
        object.__setattr__(found, name, value)
    assert timing(found, 20, 1.0) == "time      no image was reconstructed in 3.0 s"
