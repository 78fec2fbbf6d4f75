"""Where a config, and a file that a config names, is looked for."""

from __future__ import annotations

import os
from pathlib import Path

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.configs.reader.source import shown
from challenge.configs.reader.writer import printable

YAML = (".yaml", ".yml")
KINDS = ("challenges", "methods")
"""Folders of the YAML files, inside `configs/`."""


def packaged() -> Path:
    """The folder that comes with the toolkit: its YAML files by kind, and kernels."""
    from importlib.resources import files

    return Path(str(files("challenge.configs")))


def names(kind: str | None = None) -> dict[str, Path]:
    """The packaged YAML files by name, sorted: of one kind, or all."""
    folders = [packaged() / each for each in KINDS if kind in (None, each)]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def find(name: str, kind: str | None = None) -> Path:
    """The YAML file of a name: the path as given, one of `./configs`, or the packaged one.

    `configs/tv.yaml`, `configs/methods/tv.yaml` and `tv.yaml` also find the packaged file where
    the folder has none.

    Args:
        name: a path or a word.
        kind: `challenges` or `methods`: whose names are told where there is no such file.

    Raises:
        UserError: there is none; says which names exist.
    """
    given = Path(name).expanduser()
    if os.path.isfile(given):
        return given
    folder, short = given.parent, given.stem if given.suffix in YAML else given.name
    own = [Path("configs"), *(Path("configs") / each for each in KINDS)]
    if folder in (Path(), *own) and short:
        kinds: tuple[str, ...] = KINDS if folder in (Path(), Path("configs")) else (folder.name,)
        local: list[Path] = own if folder == Path() else [folder]
        packed = [packaged() / each for each in kinds]
        for place in [*local, *packed]:
            if os.path.isfile(place / f"{short}.yaml"):
                return place / f"{short}.yaml"
    if name and os.path.isdir(given):
        inside = sorted(each.name for each in given.glob("*.yaml"))
        remedy = (
            f"give a file of it, `{shown(given / inside[0])}`" if inside else "give a YAML file"
        )
        raise UserError.of(shown(given), "is a folder", remedy)
    # Of what was asked for; files of the user's own folder may be either.
    known = sorted({*names(kind), *(path.stem for place in own for path in place.glob("*.yaml"))})
    listed = f"known: {', '.join(known)}, or a path to a YAML file"
    for beside in (f"{name}{suffix}" for suffix in YAML):
        if name and os.path.isfile(Path(beside).expanduser()):
            remedy = f"a file is given with its ending: `{printable(beside, 200)}`"
            raise UserError.of(printable(name, 80), "no such config", remedy)
    near = _nearest(given, short, known)
    question = f"did you mean `{near}`? " if near else ""
    raise UserError.of(printable(name, 80), "no such config", question + listed)


def _nearest(given: Path, short: str, known: list[str]) -> str:
    """What may be meant: a YAML file in the folder of `given` before a known name; else ""."""
    try:
        files = {each.stem: each for each in given.parent.iterdir() if each.suffix in YAML}
    except (OSError, ValueError):
        files = {}
    if beside := spelling.nearest(short, files, cutoff=0.7):
        return shown(files[beside[0]])
    # Stricter than elsewhere: `week` is as near to `wiener` as `net` is to `network`.
    return next(iter(spelling.nearest(short, known, cutoff=0.65)), "")


def find_file(name: str, source_path: Path | None) -> Path:
    """A file that a YAML file names.

    Args:
        name: an absolute path; or one that is looked for beside the YAML file, then in the
            current folder, then in the folder of packaged files.
        source_path: the YAML file; None where there is none.

    Raises:
        UserError: it is at none of these places; names them.
    """
    given = Path(name).expanduser()
    beside = [] if source_path is None else [source_path.parent]
    folders = [Path(os.path.abspath(each)) for each in [*beside, Path(), packaged()]]
    tried = list(dict.fromkeys(folder / given for folder in folders))
    for candidate in tried:
        if os.path.isfile(candidate):
            return candidate
    raise UserError.of(
        printable(name, 80),
        f"no such file, tried {', '.join(f'`{each}`' for each in tried)}",
        "put it at one of these places or give its path, `operator.kernel.file=PATH` for a kernel, "
        "`operator.mask={file: PATH}` for masks",
    )
