"""The kit that an organiser gives to the teams: the toolkit, public data, configs, a template.

It is made from the files that the public manifest lists, so nothing hidden can get into it. Beside
them it has the toolkit itself, the names of the teams, and the speed of the judge's machine, where
that was measured. The configs are those of the methods that take the challenge's operator.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from challenge.configs.paths import names, packaged
from challenge.configs.reader.writer import flow
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge, read_manifest
from challenge.data.challenges.rules import shown
from challenge.data.layout import Public, Workspace
from challenge.submissions import layout, machine
from challenge.submissions.entries import archive, kit_configs, rules_sheet, teams, wheel
from challenge.submissions.inference import speed
from challenge.submissions.scoring import foreseen, metrics

TEMPLATES = {
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "start.ipynb": "start.ipynb",
    "method.py": "my_team/method.py",
    "mine.yaml": "my_team/mine.yaml",
    "test_method.py": "tests/test_method.py",
}
"""Template files of this package and their places in the kit."""
SCHEMA = "configs/entry.schema.json"
"""What editors know of the configs."""
RULES = "RULES.md"
"""The rules on one page."""
MEASUREMENTS = {
    "hidden": "hidden: the judge hands them to your entry one by one",
    "published": "published: `{}`",
}


def make_kit(
    challenge: Challenge,
    workspace: Workspace,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write the kit of a challenge as one zip; the same challenge gives the same bytes.

    Args:
        progress: called after each file with ("kit", done, total).

    Returns:
        The zip, `workspace/<challenge>-kit.zip`; it replaces an older one.
    """
    target = layout.kit(workspace, challenge.config.name)
    public = Public(challenge.path)
    root = f"{challenge.config.name}-kit"
    inside = Workspace(Path(root) / "workspace").public(challenge.config.name).path.as_posix()
    configs = kit_configs.fitting(challenge)
    listed = teams.load(workspace)
    words = _words(challenge, configs, listed)
    texts = {place: _template(name) for name, place in TEMPLATES.items()}
    made = {place: _fill(text, words) for place, text in texts.items()}
    made |= {f"configs/{name}": text.encode() for name, text in configs.items()}
    made[RULES] = rules_sheet.sheet(challenge.config, challenge).encode()
    made[SCHEMA] = (packaged() / Path(SCHEMA).name).read_bytes()
    made[wheel.file_name()] = wheel.build()
    if listed is not None:
        made[layout.teams(Workspace(Path("workspace"))).as_posix()] = _names(listed)
    names = sorted({*read_manifest(public)["files"], public.manifest.name})
    if public.rules.is_file():
        names.append(public.rules.name)
    if foreseen.read(public) is not None:
        names.append(public.resolution.name)
    files = {f"{inside}/{name}": public.path / name for name in names}
    speeds = speed.read(source := judge_speed(workspace))
    if speeds and all(each.usable for each in speeds):
        files[layout.judge_speed(Workspace(Path(root) / "workspace")).as_posix()] = source
    done = 0

    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal done
        yield from pieces
        done += 1
        if progress is not None:
            progress("kit", done, len(made) + len(files))

    contents = {f"{root}/{place}": counted(iter([content])) for place, content in made.items()}
    contents |= {name: counted(_file(path)) for name, path in files.items()}
    atomic.write_with(target, lambda path: archive.write(path, contents))
    return target


def judge_speed(workspace: Workspace) -> Path:
    """The file that says how fast the judge's machine is, which need not exist.

    The organiser's own, unless another machine judges and its file was put there.
    """
    given = layout.judge_speed(workspace)
    return given if given.exists() else layout.speed(workspace)


def _template(name: str) -> str:
    return resources.files("challenge.submissions").joinpath("template", name).read_text("utf-8")


def _names(listed: teams.Teams) -> bytes:
    """The names of the teams, so that `pack` knows them; their members stay with the organiser."""
    lines = [f"  {flow(name)}: {{}}" for name in sorted(listed.teams)]
    return "\n".join(["teams:", *lines, ""]).encode()


def _words(
    challenge: Challenge, configs: dict[str, str], listed: teams.Teams | None
) -> dict[str, str]:
    """What the templates say about the challenge."""
    limits, rules = challenge.config.limits, challenge.config.rules
    return {
        "challenge": challenge.config.name,
        "channels": f"{challenge.channels}",
        "colour": challenge.config.images.mode,
        "configs": ", ".join(f"`{Path(name).stem}`" for name in configs),
        "left_out": _left_out(challenge, configs),
        "patch": f"{min(64, challenge.config.images.size)}",
        "tune": f"{min(6, max(1, len(challenge.ids('train')) // 4))}",
        "wheel": wheel.file_name(),
        "requirements": "\n".join(wheel.requirements()),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "teams": ", ".join(sorted(listed.teams)) if listed else "not listed: any name",
        "team": min(listed.teams) if listed else "my-team",
        "weights_mb": f"{limits.weights_mb:g}",
        "minutes": f"{limits.minutes:g}",
        "threads": f"{limits.threads}",
        "memory_gb": f"{limits.memory_gb:g}",
        "pretrained": rules.pretrained,
        "external_data": rules.external_data,
        "packages": ", ".join(rules.packages) or "none",
        "entries_per_day": f"{rules.entries_per_day}",
        "counts": rules.counts,
        "deadline": shown(rules.deadline),
        "rules": challenge.standing.version,
        "metric": metrics.DESCRIPTION,
        "test": f"{challenge.test.count}",
        "test_measurements": MEASUREMENTS[rules.test_measurements].format(
            f"workspace/public/{challenge.config.name}/test"
        ),
        "toolkit": machine.versions()["toolkit"],
        "seal": challenge.seal,
    }


def _left_out(challenge: Challenge, configs: dict[str, str]) -> str:
    """Why some of the toolkit's methods have no config here; empty where all have."""
    missing = sorted(names("methods").keys() - {Path(name).stem for name in configs})
    if not missing:
        return ""
    kind = challenge.config.operator.kind
    return f" ({', '.join(f'`{name}`' for name in missing)} does not take operators of kind {kind})"


def _fill(text: str, words: dict[str, str]) -> bytes:
    """Replace every `@word@`; one that is not known is a bug and raises `KeyError`."""
    return re.sub(r"@([a-z_]+)@", lambda match: words[match[1]], text).encode()


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from archive.pieces(file)
