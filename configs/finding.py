"""Where a config, and a file that a config names, is looked for."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from challenge.configs.dump import printable
from challenge.configs.errors import UserError
from challenge.configs.source import shown


def packaged() -> Path:
    """The folder of the YAML files that come with the toolkit."""
    from importlib.resources import files

    return Path(str(files("challenge.configs")))


def find(name: str) -> Path:
    """The YAML file of a name: the path as given, `./configs/NAME.yaml`, the packaged file.

    `configs/tv.yaml` and `tv.yaml` also find the packaged file where the folder has none.

    Raises:
        UserError: there is none; says which names exist.
    """
    given = Path(name).expanduser()
    if os.path.isfile(given):
        return given
    folder, short = given.parent, given.stem if given.suffix in (".yaml", ".yml") else given.name
    if folder in (Path(), Path("configs")) and short:
        for candidate in (Path("configs") / f"{short}.yaml", packaged() / f"{short}.yaml"):
            if os.path.isfile(candidate):
                return candidate
    if name and os.path.isdir(given):
        inside = sorted(each.name for each in given.glob("*.yaml"))
        remedy = (
            f"give a file of it, `{shown(given / inside[0])}`" if inside else "give a YAML file"
        )
        raise UserError.of(shown(given), "is a folder", remedy)
    known = sorted(
        {each.stem for place in (Path("configs"), packaged()) for each in place.glob("*.yaml")}
    )
    close = get_close_matches(short, known, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    listed = ", ".join(known)
    raise UserError.of(
        printable(name, 80), "no such config", f"{hint}known: {listed}, or a path to a YAML file"
    )


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
        "put it at one of these places or give its path, `operator.kernel.file=PATH` for a kernel",
    )
