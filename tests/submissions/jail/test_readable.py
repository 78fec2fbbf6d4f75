"""What an entry can read of this machine, seen from inside, over every kind of place.

A made-up environment stands beside that of this Python: a folder of packages, a standard library,
a folder of libraries.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from challenge.configs.schema.challenge import Limits
from challenge.submissions.jail import levels, libraries, places, readable, spawn
from challenge.submissions.jail.probe import probe
from challenge.submissions.jail.spawn import Jail

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the jail is Linux's")
MADE = """
site/good/__init__.py                       open
site/good/data/table.csv                    open
site/good-1.0.dist-info/METADATA            open
site/good.libs/libown-12.so.1               open
site/single.py                              open
site/__pycache__/single.TAG.pyc             open
site/__pycache__/lone.TAG.pyc               closed
site/lone.py                                closed
site/bad/__init__.py                        closed
site/bad/picture.png                        closed
site/bad-2.0.dist-info/METADATA             closed
site/shared/yes/module.py                   open
site/shared/yes.py                          open
site/shared/a,"b".py                        open
site/shared/no/module.py                    closed
site/shared/no.py                           closed
site/shared/nobodys/picture.png             closed
site/old/__init__.py                        open
site/old_compiled.cpython-311-x.so          open
site/Old_Egg-3.0.egg-info/top_level.txt     open
site/poor/__init__.py                       closed
site/poor-1.0.egg-info/top_level.txt        closed
site/bad.pth                                closed
site/photographs/picture.png                closed
site/picture.png                            closed
site/good/original.png                      closed
site/good/workspace/hidden/truth.png        closed
site/good/workspace/beside.png              closed
site/good/beside.png                        open
prefix/lib/libmkl.so.2                      open
prefix/share/picture.png                    closed
prefix/bin/program                          closed
python/module.py                            open
python/lib-dynload/_fast.so                 open
python/original.png                         closed
python/site-packages/other/__init__.py      closed
python/site-packages/picture.png            closed
libraries/libfine.so                        open
libraries/libfine.so.1.2                    open
libraries/picture.png                       whole
libraries/libfine.so.png                    whole
libraries/photographs/picture.png           whole
elsewhere/picture.png                       closed
elsewhere/workspace/hidden/truth.png        closed
repository/workspace/hidden/truth.png       closed
"""
"""What lies in the made-up environment, and whether an entry can read it; `whole`: a folder of
libraries can be read whole where the kernel has no Landlock."""
RECORDS = {
    "good-1.0.dist-info": "good/__init__.py,,\ngood/data/table.csv,,\nsingle.py,,\n"
    "good-1.0.dist-info/METADATA,,\ngood.libs/libown-12.so.1,,\nshared/yes/module.py,,\n"
    '"shared/a,""b"".py",,\n'
    "../prefix/lib/libmkl.so.2,,\n../prefix/bin/program,,\nshared/yes.py,,\n",
    "bad-2.0.dist-info": 'bad/__init__.py,,\nlone.py,,\nshared/no/module.py,,\n"a,b.txt",,\n'
    "bad.pth,,\nbad/picture.png,,\nbad-2.0.dist-info/METADATA,,\nshared/no.py,,\n",
}
LINKS = {
    "site/good/link.png": "elsewhere/workspace/hidden/truth.png",
    "site/single_link.png": "elsewhere/workspace/hidden/truth.png",
    "libraries/liblink.so": "elsewhere/workspace/hidden/truth.png",
    "libraries/liblinked_folder.so": "elsewhere/workspace/hidden",
    "site/old_link": "elsewhere/workspace/hidden",
    "python/link.png": "elsewhere/picture.png",
}
"""Links from where entries can read to what they may not."""
LOOK = """
import json, sys
found = {}
for path in json.loads(sys.argv[1]):
    try:
        with open(path, "rb") as file: found[path] = file.read().decode()
    except OSError: pass
print(json.dumps(found))
"""


def lines() -> Iterator[tuple[str, str]]:
    for line in MADE.strip().splitlines():
        path, state = line.replace("TAG", str(sys.implementation.cache_tag)).split()
        yield path, state


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "root"
    for path, _ in lines():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {path}")
    for name, text in RECORDS.items():
        (root / "site" / name / "RECORD").write_text(text)
    (root / "site/Old_Egg-3.0.egg-info/top_level.txt").write_text("old\nold_compiled\n")
    (root / "site/poor-1.0.egg-info/top_level.txt").write_text("poor\n")
    for name, target in LINKS.items():
        (root / name).symlink_to(root / target)
    monkeypatch.setattr(places, "packages", lambda: (str(root / "site"),))
    real = places.standard_library()
    monkeypatch.setattr(places, "standard_library", lambda: (*real, str(root / "python")))
    before = places.library_folders()
    folders = (*before, str(root / "libraries"))
    monkeypatch.setattr(places, "library_folders", lambda: folders)
    readable.readable.cache_clear()
    yield root
    readable.readable.cache_clear()


def read(jail: Jail, folder: Path, paths: list[Path]) -> set[Path]:
    """Those of some files whose content an entry gets."""
    folder.mkdir()
    entry = folder.with_suffix(".entry")
    entry.mkdir()
    argument = json.dumps([str(each) for each in paths])
    process = spawn.spawn(jail, folder, entry, Limits(minutes=1, threads=1), [argument])
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    return {Path(each) for each, content in json.loads(out).items() if content}


CASES = [(level, True) for level in levels.LEVELS[1:]] + [("bubblewrap", False)]


@LINUX
@pytest.mark.parametrize(("level", "landlock"), CASES)
def test_what_can_be_read(level: levels.Level, landlock: bool, made: Path, tmp_path: Path) -> None:
    if reason := probe.available(level):
        pytest.skip(reason)
    runner = tmp_path / "look.py"
    runner.write_text(LOOK)
    protected = [made / "elsewhere/workspace", made / "repository/workspace"]
    protected += [made / "site/good/workspace", made / "python/original.png"]
    protected += [made / "site/good/original.png"]
    controls = levels.controls(level) - ({"files"} if not landlock else set())
    permitted = frozenset({"good", "old-egg"})
    jail = Jail(level, runner, tuple(protected), controls, permitted)
    states = {made / path: state for path, state in lines()}
    links = [made / path for path in LINKS]
    links += [made / "site/old_link/truth.png", made / "libraries/liblinked_folder.so/truth.png"]
    found = read(jail, tmp_path / "jail", [*states, *links])
    is_open = {"open"} if landlock else {"open", "whole"}
    expected = {path for path, state in states.items() if state in is_open}
    assert {str(each.relative_to(made)) for each in found ^ expected} == set()


@LINUX
@pytest.mark.parametrize("level", levels.LEVELS[1:])
def test_where_a_permitted_package_recorded_nothing_the_others_stay_closed(
    level: levels.Level, made: Path, tmp_path: Path
) -> None:
    if reason := probe.available(level):
        pytest.skip(reason)
    runner = tmp_path / "look.py"
    runner.write_text(LOOK)
    (made / "site" / "silent-1.egg-info").write_text("Name: silent\n")
    jail = Jail(level, runner, permitted=frozenset({"silent"}))
    names = ["photographs/picture.png", "silent-1.egg-info", "bad/__init__.py", "lone.py"]
    found = read(jail, tmp_path / "jail", [made / "site" / each for each in names])
    assert {each.name for each in found} == {"picture.png", "silent-1.egg-info"}


IMPORTS = """
import importlib, importlib.metadata, importlib.util, json
found = {}
for name in ("good", "single", "shared.yes", "shared.yes.module", "bad", "lone", "shared.no",
             "shared.no.module"):
    try: importlib.import_module(name)
    except ModuleNotFoundError as error: found[name] = error.name
    else: found[name] = ""
found["spec"] = importlib.util.find_spec("bad") is None
found["distributions"] = sorted(each.name for each in importlib.metadata.distributions())
print(json.dumps(found))
"""


@LINUX
@pytest.mark.parametrize(("level", "landlock"), CASES)
def test_what_is_closed_is_not_installed_in_the_words_of_python(
    level: levels.Level, landlock: bool, made: Path, tmp_path: Path
) -> None:
    """Libraries ask for packages that they do not need, and go on without them."""
    if reason := probe.available(level):
        pytest.skip(reason)
    for each in ("good", "shared/yes"):
        (made / "site" / each / "__init__.py").write_text("")
    for each in ("single.py", "shared/yes.py", "shared/yes/module.py"):
        (made / "site" / each).write_text("")
    (made / "site/good-1.0.dist-info/METADATA").write_text("Name: good\nVersion: 1.0\n")
    record = made / "site/good-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + "shared/yes/__init__.py,,\n")
    runner, folder = tmp_path / "look.py", tmp_path / "jail"
    runner.write_text(IMPORTS)
    controls = levels.controls(level) - ({"files"} if not landlock else set())
    jail = Jail(level, runner, controls=controls, permitted=frozenset({"good"}))
    folder.mkdir()
    (tmp_path / "entry").mkdir()
    process = spawn.spawn(jail, folder, tmp_path / "entry", Limits(threads=1), [])
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    assert json.loads(out) == {
        **{name: "" for name in ("good", "single", "shared.yes", "shared.yes.module")},
        **{name: name for name in ("bad", "lone", "shared.no")},
        "shared.no.module": "shared.no",
        "spec": True,
        "distributions": ["good"],
    }


# --- kinds of installations ----------------------------------------------------------------------

KINDS = {
    # prefix, base prefix, standard library, folders of packages
    "venv": ("env", "opt/python", "opt/python/lib/python3.11",
             ["env/lib/python3.11/site-packages"]),
    "pyenv": (".pyenv/3.11", ".pyenv/3.11", ".pyenv/3.11/lib/python3.11",
              [".pyenv/3.11/lib/python3.11/site-packages"]),
    "conda": ("conda/envs/a", "conda/envs/a", "conda/envs/a/lib/python3.11",
              ["conda/envs/a/lib/python3.11/site-packages"]),
    "system": ("usr", "usr", "usr/lib/python3.11",
               ["usr/local/lib/python3.11/dist-packages", "usr/lib/python3/dist-packages"]),
    "venv that sees the system's": ("env", "usr", "usr/lib/python3.11",
               ["env/lib/python3.11/site-packages", "usr/lib/python3/dist-packages"]),
    "of a user": ("usr", "usr", "usr/lib/python3.11",
                  ["home/.local/lib/python3.11/site-packages"]),
}  # fmt: skip


@LINUX
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_installation_is_narrowed_to_its_modules_and_libraries(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, base, home, folders = KINDS[kind]
    root = tmp_path
    needed = [f"{home}/os.py", f"{home}/json/decoder.py", f"{home}/lib-dynload/_fast.so"]
    needed += [f"{base}/lib/libpython3.11.so.1.0"]
    other = [f"{prefix}/{each}/picture.png" for each in ("", "share", "lib", "photos", "bin")]
    other += [f"{base}/lib/photos/picture.png", f"{base}/picture.png", f"{base}/lib/libx.so.png"]
    other += [f"{home}/site-packages/picture.png", "workspace/hidden/truth.png"]
    for folder in folders:
        needed += [f"{folder}/good/__init__.py", f"{folder}/good/data.bin"]
        other += [f"{folder}/bad/__init__.py", f"{folder}/__editable__.finder.py"]
        facts = root / folder / "good-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "RECORD").write_text("good/__init__.py,,\n")
    for each in [*needed, *other]:
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        (root / each).write_text("x")
    monkeypatch.setattr(sys, "prefix", str(root / prefix))
    monkeypatch.setattr(sys, "base_prefix", str(root / base))
    monkeypatch.setattr(os, "__file__", str(root / home / "os.py"))
    paths = [root / home, root / home / "lib-dynload", *(root / each for each in folders)]
    # A repository that is installed as it lies there: its folder is on the path, or a finder.
    monkeypatch.setattr(sys, "path", ["", str(root), *map(str, paths)])
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{root}/drivers:relative")
    asked = (places.packages, places.standard_library, places.library_folders, readable.readable)
    for function in asked:
        function.cache_clear()
    try:
        found = {os.path.realpath(each) for each in readable.readable(frozenset({"good"})).files()}
    finally:
        monkeypatch.undo()
        for function in asked:
            function.cache_clear()
    assert {each for each in needed if str(root / each) not in found} == set()
    assert {each for each in other if str(root / each) in found} == set()


def test_the_linkers_cache_is_read_as_its_own_tool_reads_it() -> None:
    tool = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if tool is None or not os.path.exists(libraries.CACHE):
        pytest.skip("no cache of the dynamic linker")
    import subprocess

    said = subprocess.run([tool, "-p"], capture_output=True, text=True).stdout
    named = {line.partition(" => ")[2] for line in said.splitlines() if " => " in line}
    assert named and {each for each in named if ".so" in each} - {*libraries.linked()} == set()
