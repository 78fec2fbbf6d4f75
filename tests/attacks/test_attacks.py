"""Every attack at every level.

Always at the weakest level that stops it, and at the strongest that does not: there it must
succeed. What a further level stops again is slow: a stronger level has the controls of the weaker.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
import time
import unicodedata

import psutil
import pytest

from challenge.submissions.jail import cgroup, levels, spawn, stage
from challenge.submissions.jail.probe import probe

from . import answers, cheating, disk, files, kernel, memory, network, processes, signals, watch
from . import time as times
from .attack import ALL, QUOTA, leaked, put_up, state

FAMILIES = (
    files,
    network,
    processes,
    signals,
    kernel,
    memory,
    times,
    answers,
    disk,
    cheating,
    watch,
)
ATTACKS = [each for family in FAMILIES for each in family.ATTACKS]
SOURCES = stage.sources
MOST = 250_000_000
"""Bytes by which the supervisor may grow."""


def decisive(attack):
    """The weakest level that stops it and the strongest that does not, of those it is played at."""
    stopping = [level for level in attack.levels if level in attack.stopped]
    return {*stopping[:1], *[level for level in attack.levels if level not in stopping][-1:]}


CASES = [
    pytest.param(
        attack,
        level,
        id=f"{attack.name.replace(' ', '-')}-{level}",
        marks=[] if level in decisive(attack) else [pytest.mark.slow],
    )
    for attack in ATTACKS
    for level in attack.levels
]


IMPORTED = ("data/__init__.", "data/quick_import.", "submissions/__init__.",
            "submissions/inference/", "submissions/jail/")  # fmt: skip
"""What the runner without torch and the launcher import of the toolkit."""


@functools.cache
def needed():
    """The toolkit's files that a run needs: to copy all takes longer than the rest of it."""
    probe = "submissions/jail/probe/"
    return [
        (name, path)
        for name, path in SOURCES()
        if name.startswith(IMPORTED) and not name.startswith(probe)
    ]


@pytest.fixture
def own_temporary_folder(tmp_path_factory, monkeypatch):
    """Whatever a run leaves is seen in it."""
    folder = tmp_path_factory.mktemp("a")
    (folder / "tmp").mkdir()
    monkeypatch.setattr(spawn, "QUOTA", QUOTA)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    # What is promised holds without.
    monkeypatch.setattr(cgroup, "group", contextlib.nullcontext)
    yield folder
    # Whatever was left: pytest itself cannot remove folders that are too deep.
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def arena(request, own_temporary_folder, monkeypatch):
    level, attack = (request.getfixturevalue(each) for each in ("level", "attack"))
    if not attack.whole_toolkit:
        monkeypatch.setattr(stage, "sources", lambda: iter(needed()))
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of system calls are those of x86_64")
    reason = probe.available(level) or probe.works(level)
    if reason:
        pytest.skip(reason)
    made = put_up(own_temporary_folder, level)
    monkeypatch.setenv("SECRET_TOKEN", made.secret)
    yield made
    undo = made.notes.get("undo")
    if undo:
        undo()
    file = made.notes.get("file")
    if file:
        file.close()
    made.close()


@pytest.mark.parametrize(("attack", "level"), CASES)
def test_attack(attack, level, arena):
    open_to = level not in attack.stopped
    if open_to and attack.harmful:
        pytest.skip(attack.harmful)
    attack.before(arena)
    arena.memory_gb = attack.memory_gb
    others = {each.pid for each in psutil.Process().children(recursive=True)}
    began = time.monotonic()
    ran = attack.play(arena, attack)
    wall = time.monotonic() - began
    happened = attack.evidence(arena, ran)
    if open_to:
        assert happened or attack.unproven, f"it failed by itself: {ran.found}"
    else:
        assert not happened, f"it got through: {ran.found}"
    assert ran.found.outcome in attack.expected(level), ran.found
    assert wall < attack.seconds + attack.patience, f"{wall:.1f} s"
    untouched(arena, ran, attack, level, happened)
    left = [each for each in psutil.Process().children(recursive=True) if each.pid not in others]
    assert left == []
    assert list((arena.folder / "tmp").iterdir()) == []
    assert ran.grown < MOST


def untouched(arena, ran, attack, level, happened):
    """What holds whatever an entry tries."""
    if level in attack.stopped or not happened:
        assert not leaked(arena, ran)
        for name in ("workspace", "home", "victim", "outside"):
            assert arena.notes[f"state of {name}"] == state(arena.path(name)), name
    if not (attack.harms_decoy and happened):
        assert arena.decoy_is_well()
    text = ran.found.cause
    assert "\n" not in text
    harmful = [
        each
        for each in text + ran.found.log
        if unicodedata.category(each)[0] == "C" and each not in "\n\t"
    ]
    assert not harmful


ALONE = {
    "read the hidden truth",
    "list the hidden folder",
    "read another's environment",
    "write a result",
    "write into its own entry",
    "change a time",
    "set a switch of the whole machine",
}
"""Attacks on files."""


@pytest.mark.parametrize("level", ["bubblewrap"])
@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.name in ALONE],
                         ids=lambda each: each.name.replace(" ", "-"))  # fmt: skip
def test_namespaces_alone(attack, level, arena):
    """A kernel without Landlock: the level stands, and namespaces decide about files."""
    arena.controls = levels.controls(level) - {"files"}
    happened = attack.evidence(arena, attack.play(arena, attack))
    assert not happened


def test_there_are_many_and_each_has_its_name():
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("level", ALL)
def test_every_control_is_attacked(level):
    attacked = {control for attack in ATTACKS for control in attack.controls}
    assert levels.controls(level) <= attacked
    assert attacked <= levels.controls("bubblewrap")
