"""Play a whole week, and make the README's pictures of its pages.

    python -m benchmarks.course.friday [WORKSPACE] [--looks FOLDER]

Five teams hand in ten entries, beside a baseline: two that are not told apart, one that is another
team's, one that crashes, one that wants too much memory. The commands are those of
docs/organiser.md. Board, report and slides lie in WORKSPACE/pages, the final page in
WORKSPACE/final, and docs/friday has a picture of each. Needs Linux, a browser (`pip install -e
'.[browser]'`, Debian's chromium) and some minutes; what is there already is used again.

With `--looks`, every page is pictured on a phone, a laptop and a projector, light and dark, and
printed: for people to look at.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.course import friday_pictures
from benchmarks.course.readme import challenge
from challenge.data.layout import Hidden, Workspace
from challenge.submissions.judging import reveal

CHALLENGE = ["images.test=24", "rules.final_share=0.5", "limits.threads=1"]
"""Nearly all test images that the built-in ones give, in two parts.

With one thread the week can be played beside other programs: two that wait for each other on busy
cores take minutes for what one does in a second.
"""
TEAMS = """teams:
  alpha: {members: [Ada, Grace]}
  beta: {members: [Emmy, Sofia]}
  gamma: {members: [Maryam, Karen]}
  delta: {members: [Sophie]}
  epsilon: {members: [Mary, Katherine, Dorothy]}
"""
BROKEN = '''from challenge.methods import Method


class Broken(Method):
    """x_hat = step A^T y, with a step for each image, of which it has eight: val has six."""

    def __init__(self):
        super().__init__()
        self.steps = [1.0] * 8

    def forward(self, y, physics):
        return self.steps.pop() * physics.A_adjoint(y)
'''
HOARD = '''import torch

from challenge.methods import Method


class Hoard(Method):
    """x_hat = A^T y; keeps a thousand copies of every measurement, 0.8 GB."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, y, physics):
        self.kept.append(y.repeat(1000, 1, 1, 1))
        return physics.A_adjoint(y)
'''
OWN = {"broken": BROKEN, "hoard": HOARD}
TRAINED = {
    "wiener": ["wiener"],
    "tv": ["tv"],
    "huber": ["huber"],
    "small": [
        "network",
        "name=small",
        "train.minutes=null",
        "train.steps=200",
        "train.evaluate=20",
    ],
    **{name: [f"{{}}/own/{name}.yaml", f"name={name}"] for name in OWN},
}
"""Runs, by what is given to `challenge train`; `{}` is the workspace."""
WEEK: dict[str, tuple[tuple[str, str], ...]] = {
    "Tuesday": (("alpha", "wiener"), ("gamma", "small"), ("epsilon", "broken")),
    "Wednesday": (("alpha", "tv"), ("beta", "huber"), ("gamma", "unet"), ("epsilon", "hoard")),
    "Thursday": (
        *(("beta", "lpd"), ("delta", "unet"), ("epsilon", "lista")),
        ("baseline", "bilevel-convex"),
    ),
}
"""What is handed in, by team: runs, or what comes with the toolkit.

`lpd` and `lista` differ by less than twelve images tell; delta's entry is gamma's.
"""
PRESENTED = ("tv", "small", "unet", "lista")
"""In the report, the first one is what the others are compared with."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.course.friday")
    parser.add_argument("workspace", nargs="?", default="workspace", type=Path)
    parser.add_argument("--looks", type=Path, metavar="FOLDER", help="pictures to look at")
    arguments = parser.parse_args()
    pages = play(Workspace(arguments.workspace.resolve()))
    friday_pictures.for_readme(pages)
    if arguments.looks:
        friday_pictures.looks(pages, arguments.looks)


def play(place: Workspace) -> dict[str, Path]:
    """The week, from `prepare` to `reveal`: its pages by name."""
    option = ["--workspace", str(place.path)]
    public, hidden = place.public("deblur"), place.hidden("deblur")
    pages = place.path / "pages"
    if not public.config.exists():
        challenge("prepare", "deblur", *CHALLENGE, f"rules.deadline={_friday()}", *option)
    pages.mkdir(exist_ok=True)
    (place.path / "teams.yaml").write_text(TEAMS)
    for day, handed_in in WEEK.items():
        print(f"{day}: {', '.join(' '.join(each) for each in handed_in)}", file=sys.stderr)
        zips = [_packed(place, *each) for each in handed_in]
        challenge("score", *zips, "--hidden", str(hidden.path), *option)
        if reveal.read(hidden) is None:
            challenge("board", "deblur", "--html", str(pages / "board.html"), *option)
    shown = [_method(place, name) for name in PRESENTED]
    for form, options in (("report", []), ("slides", ["--slides"])):
        if not (pages / f"{form}.html").exists():
            challenge("report", *shown, *options, "--out", str(pages / f"{form}.html"), *option)
    _reveal(hidden, option)
    final = place.path / "final" / "deblur" / "final.html"
    return {name: pages / f"{name}.html" for name in ("board", "report", "slides")} | {
        "final": final
    }


def _friday() -> str:
    """The next one, at five o'clock."""
    now = datetime.now(UTC)
    day = now + timedelta(days=(4 - now.weekday()) % 7 or 7)
    return f"{day:%Y-%m-%d}T17:00:00Z"


def _reveal(hidden: Hidden, option: list[str]) -> None:
    """The deadline is moved to this moment, and the final part is opened."""
    if reveal.read(hidden) is None:
        moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        challenge("amend", "deblur", f"rules.deadline={moment}", *option)
    challenge("reveal", "deblur", *option)
    challenge("board", "deblur", "--final", *option)


def _packed(place: Workspace, team: str, name: str) -> str:
    """An entry, packed where it is not there yet."""
    path = place.path / "entries" / f"{team}-{name}.zip"
    if not path.exists():
        option = ["--workspace", str(place.path)]
        challenge("pack", _method(place, name), "--team", team, *option)
    return str(path)


def _method(place: Workspace, name: str) -> str:
    """A run, trained where it is not there yet; or the name of what comes with the toolkit."""
    if name not in TRAINED:
        return name
    run = place.path / "runs" / "deblur" / name
    if not (run / "weights.safetensors").exists():
        if name in OWN:
            _own(place, name)
        words = [each.format(place.path) for each in TRAINED[name]]
        resume = ["--resume"] if (run / "config.yaml").exists() else []
        challenge("train", *words, *resume, "--workspace", str(place.path))
    return str(run)


def _own(place: Workspace, name: str) -> None:
    """A method of a team's own: its file and its config."""
    folder = place.path / "own"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(OWN[name])
    (folder / f"{name}.yaml").write_text(f"challenge: deblur\nmethod: {{name: {name}.py}}\n")


if __name__ == "__main__":
    main()
