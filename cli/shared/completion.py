"""What the shell proposes behind Tab: names that are there, found without torch in an instant.

Every function takes what is typed so far and gives what it may become.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import typer

LEVELS = ("process", "landlock", "bubblewrap")
"""Levels of isolation, as `challenge.submissions.jail.levels` has them."""
ALGORITHMS = ("pgd", "hqs", "admm", "drs", "red", "gs")
"""Into which `analyse` plugs a denoiser, as `methods.plug_and_play.stationary` has them."""
DEVICES = ("auto", "cpu", "cuda")
HALVES = ("float16", "bfloat16")
"""Types to which weights may be rounded, as `challenge.submissions.entries.manifest` has them."""


def challenges(ctx: typer.Context, incomplete: str) -> list[str]:
    """Packaged challenges, YAML files here, and prepared challenges."""
    return _of(
        [*_packaged("challenges"), *_prepared(ctx), *_files(incomplete, ".yaml")], incomplete
    )


def prepared(ctx: typer.Context, incomplete: str) -> list[str]:
    """The prepared challenges of the workspace."""
    return _of(_prepared(ctx), incomplete)


def configs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Packaged configs of entries, YAML files here, and runs that can be resumed."""
    return _of([*_packaged("methods"), *_in_workspace(ctx, "runs/*/*")], incomplete, ".yaml")


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs of the workspace."""
    return _of(_in_workspace(ctx, "runs/*/*"), incomplete, "/")


def entries(ctx: typer.Context, incomplete: str) -> list[str]:
    """Packed entries of the workspace."""
    return _of(_in_workspace(ctx, "entries/*.zip"), incomplete, ".zip")


def comparable(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs, entries and the baselines that come with the toolkit."""
    baselines = [path.stem for path in _toolkit("submissions").glob("baselines/**/*.zip")]
    return _of([*_runs_and_entries(ctx), *baselines], incomplete, ".zip")


def runs_and_entries(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs and packed entries of the workspace."""
    return _of(_runs_and_entries(ctx), incomplete, ".zip")


def methods(incomplete: str) -> list[str]:
    """Methods of the name table, and files of a team's own."""
    from challenge.methods import registry

    return _of(registry.names(), incomplete, ".py")


def sections(incomplete: str) -> list[str]:
    """Sections of the YAML files."""
    from challenge.configs.reference.parts import FILES, json_schema, parts

    found = [part.place for model in FILES.values() for part in parts(json_schema(model))]
    return _of([*FILES, *filter(None, found)], incomplete)


def levels(incomplete: str) -> list[str]:
    """Levels of isolation."""
    return _of(LEVELS, incomplete)


def algorithms(incomplete: str) -> list[str]:
    """What a denoiser can be plugged into."""
    return _of(ALGORITHMS, incomplete)


def devices(incomplete: str) -> list[str]:
    """Where a training may run."""
    return _of(DEVICES, incomplete)


def halves(incomplete: str) -> list[str]:
    """Types to which weights may be rounded."""
    return _of(HALVES, incomplete)


def teams(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the organiser's list, where it is here."""
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.teams import load

    try:
        listed = load(Workspace(_workspace(ctx)))
    except UserError:
        return []
    return _of(listed.teams if listed else (), incomplete)


def _of(names: Iterable[str], incomplete: str, suffix: str = "") -> list[str]:
    """The names that may be meant; where there are none, the files and folders of this path."""
    found = {name for name in names if name.startswith(incomplete)}
    if not found and suffix:
        found = {name for name in _files(incomplete, suffix) if name.startswith(incomplete)}
    return sorted(found)


def _workspace(ctx: typer.Context) -> Path:
    given = ctx.params.get("workspace")
    return Path(given or os.environ.get("CHALLENGE_WORKSPACE") or "workspace")


def _in_workspace(ctx: typer.Context, pattern: str) -> list[str]:
    place = _workspace(ctx)
    return [str(path) for path in place.glob(pattern) if not path.name.startswith(".")]


def _runs_and_entries(ctx: typer.Context) -> list[str]:
    return [*_in_workspace(ctx, "runs/*/*"), *_in_workspace(ctx, "entries/*.zip")]


def _prepared(ctx: typer.Context) -> list[str]:
    return [Path(each).parent.name for each in _in_workspace(ctx, "public/*/manifest.json")]


def _packaged(kind: str) -> list[str]:
    return [path.stem for path in _toolkit("configs").glob(f"{kind}/*.yaml")]


def _toolkit(layer: str) -> Path:
    """The folder of a part of the toolkit, which stands beside this one."""
    from importlib.util import find_spec

    spec = find_spec(f"challenge.{layer}")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _files(incomplete: str, suffix: str) -> list[str]:
    """Folders, and files with the suffix, that the typed path may become."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return [f"{path}/" for path in found if path.is_dir()] + [
        str(path) for path in found if path.suffix == suffix
    ]
