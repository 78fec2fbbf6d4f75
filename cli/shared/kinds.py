"""What a path is, where a command wants another kind of thing, and the way to that."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.configs.errors import Mistake

WORDS = {
    "run": "a run",
    "entry": "a packed entry",
    "zip": "a zip, but no entry",
    "broken zip": "a damaged zip",
    "public": "the public folder of a challenge",
    "hidden": "the hidden folder of a challenge",
    "workspace": "a workspace",
    "kit": "the kit for teams",
    "empty": "an empty folder",
    "folder": "a folder",
    "challenge": "a challenge's YAML file",
    "config": "the config of a method",
    "yaml": "a YAML file",
    "python": "a Python file",
    "picture": "a picture",
    "file": "a file",
}
"""What there is, and its name in messages."""
WANTED = {
    "run": "a run's folder, such as `workspace/runs/deblur/tv`",
    "entry": "a zip made by `challenge pack`",
    "hidden": "the hidden folder, such as `workspace/hidden/deblur`",
    "challenge": "a challenge: a YAML file, or a name such as `deblur`",
    "config": "a method's config: a YAML file, or a name such as `tv`",
    "python": "a method's name such as `tv`, or a file such as `my_team/method.py`",
}
ZIPS = ("zip", "broken zip")
"""What `check` looks into all the same."""


def kind_of(path: Path) -> str:
    """A key of `WORDS`; "" where there is nothing; else, `a pipe`, what no command takes."""
    from challenge.data import reading

    try:
        other = reading.kind(path)
    except (OSError, ValueError):
        return ""
    if other == "a folder":
        return _folder(path)
    return other or _file(path)


def _folder(path: Path) -> str:
    from challenge.data.layout import Hidden, Public
    from challenge.submissions.layout import Run

    if Run(path).facts.is_file():
        return "run"
    if Public(path).manifest.is_file() and Public(path).config.is_file():
        return "public"
    if Hidden(path).seal.is_file() or Hidden(path).key.is_file():
        return "hidden"
    if (path / "workspace" / "public").is_dir():
        return "kit"
    if (path / "public").is_dir():
        return "workspace"
    try:
        return "folder" if any(path.iterdir()) else "empty"
    except OSError:
        return "folder"


def _file(path: Path) -> str:
    from challenge.data.images import formats

    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            begins = file.read(2)
    except OSError:
        return "file"
    if suffix == ".zip" or begins == b"PK":
        return _zip(path)
    if suffix in (".yaml", ".yml"):
        return _yaml(path)
    if suffix == ".py":
        return "python"
    return "picture" if suffix in formats.SUFFIXES | {*formats.HEIC} else "file"


def _zip(path: Path) -> str:
    import zipfile

    from challenge.submissions.entries.archive import members
    from challenge.submissions.entries.zip_structure import cannot_open
    from challenge.submissions.layout import MANIFEST

    if cannot_open(path, path.name):
        return "broken zip"
    listing = members(path, path.name)
    if MANIFEST in {*listing.members, *listing.refused}:
        return "entry"
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "broken zip"
    return "kit" if any("/workspace/public/" in name for name in names) else "zip"


def _yaml(path: Path) -> str:
    from challenge.configs import loader
    from challenge.configs.errors import UserError

    try:
        keys = loader.read(str(path)).tree.keys()
    except UserError:
        return "yaml"
    return (
        "config" if "method" in keys else "challenge" if {"operator", "images"} & keys else "yaml"
    )


def expect(paths: Sequence[Path], *wanted: str, also: Collection[str] = ()) -> None:
    """Refuse paths that are of none of the wanted kinds, all at once.

    Args:
        wanted: keys of `WANTED`.
        also: kinds that pass, because the command itself says best what is wrong with them.

    Raises:
        UserError: says of each what it is, and what to do.
    """
    from challenge.configs.errors import UserError

    found = {path: kind_of(path) for path in paths}
    good = {*wanted, *also}
    wrong = [mistake(path, kind, *wanted) for path, kind in found.items() if kind not in good]
    if wrong:
        raise UserError(*wrong)


def mistake(path: Path, kind: str, *wanted: str) -> Mistake:
    """What a path is and what is wanted in its place."""
    from challenge.configs.errors import Mistake

    if not kind:
        return Mistake(str(path), "does not exist", _nothing(path, wanted))
    cause = f"is {WORDS.get(kind, kind)}"
    return Mistake(str(path), cause, _way(path, kind, wanted) or f"give {_list(wanted)}")


def _list(wanted: Sequence[str]) -> str:
    return ", or ".join(WANTED[each] for each in wanted)


def _nothing(path: Path, wanted: Sequence[str]) -> str:
    from challenge.configs import spelling

    try:
        near = [each.name for each in path.parent.iterdir() if not each.name.startswith(".")]
    except (OSError, ValueError):
        near = []
    found = spelling.nearest(path.name, near, cutoff=0.75)
    question = f"did you mean `{path.parent / found[0]}`? " if found else ""
    return f"{question}give {_list(wanted)}"


def _way(path: Path, kind: str, wanted: Sequence[str]) -> str:
    """From what is there to what is wanted, in a command; "" where there is none."""
    shown = os.fspath(path)
    packing = "entry" in wanted
    if kind == "run":
        if packing:
            return f"pack it: `challenge pack {shown} --team TEAM`"
        return f"give {_list(wanted)}; of a run there is `infer`, `score`, `compare` and `pack`"
    if kind == "entry":
        return f"`challenge check {shown} --run` tries a packed entry; give {_list(wanted)}"
    if kind == "broken zip":
        return "copy or download it again"
    if kind == "config" and wanted != ("config",):
        return f"train it: `challenge train {shown}`, then give its run"
    if kind == "challenge" and wanted != ("challenge",):
        return f"prepare it: `challenge prepare {shown}`; give {_list(wanted)}"
    if kind == "python":
        return f"name it in a YAML file, `method: {{name: {shown}}}`, and train that"
    if kind == "public" and wanted == ("hidden",):
        home = path if len(path.parts) > 2 else path.resolve()
        beside = home.parents[1] / "hidden" / home.name
        return f"give `{beside}`" if beside.is_dir() else f"give {_list(wanted)}"
    if kind == "hidden" and wanted == ("entry",):
        return f"give it behind `--hidden`, and {_list(wanted)}"
    return ""


def expect_name(name: str, command: str) -> None:
    """Refuse a path where the name of a prepared challenge is wanted.

    Raises:
        UserError: says what the path is, and the name where it has one.
    """
    from challenge.configs.errors import UserError

    path = Path(name)
    if name and path.name == name and not (path.is_file() and path.suffix):
        return
    kind = kind_of(path)
    cause = f"is {WORDS.get(kind, kind)}" if kind else "is no name of a challenge"
    own = path.resolve().name if kind in ("public", "hidden") else ""
    remedy = f"give its name: `challenge {command} {own}`" if own else "give the name, as `deblur`"
    raise UserError.of(name or "the name", cause if name else "is empty", remedy)


def expect_png_to_be(out: Path, usual: str) -> None:
    """`expect_file_to_be` of a picture."""
    expect_file_to_be(out, usual, "a PNG")


def expect_file_to_be(out: Path, usual: str, what: str, option: str = "--out") -> None:
    """Refuse what no such file can be written to, before the minutes that lead to it.

    Args:
        out: what the option is.
        usual: a name that it may have; the suffix is that of all such files.
        what: they are, such as `a PNG`.
        option: that is it.

    Raises:
        UserError: it is no name of one, or its folder takes none.
    """
    from challenge.configs.errors import UserError

    place = f"{option} {out}"
    if out.suffix.lower() != Path(usual).suffix or out.is_dir():
        cause = "is a folder" if out.is_dir() else f"is not the name of {what}"
        raise UserError.of(place, cause, f"give a file such as `{usual}`")
    if not out.parent.is_dir():
        raise UserError.of(place, f"there is no folder `{out.parent}`", "make it first")
    if not os.access(out.parent, os.W_OK):
        cause = f"nothing can be written in `{out.parent}`"
        raise UserError.of(place, cause, "give a file in a folder of yours")
