"""At 80 columns and at 60 no word is broken in its middle, and no number is lost."""

from __future__ import annotations

import itertools
import re
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from challenge.cli.shared import console as printing
from challenge.cli.shared.columns import width
from challenge.cli.shared.progress_line import Line, text_of

TV = "workspace/runs/deblur/tv"
COMMANDS = {
    "board": ["board"],
    "score": ["score", TV],
    "compare": ["compare", TV, "workspace/runs/deblur/tv"],
    "methods": ["methods"],
    "tv": ["methods", "tv"],
    "network": ["methods", "network"],
    "config": ["config"],
    "challenge": ["config", "challenge"],
    "kernel": ["config", "operator.kernel"],
    "entry": ["config", "entry"],
    "check": ["check", "workspace/entries/alpha-tv.zip"],
    "pack": ["pack", TV, "--team", "alpha"],
    "seal": ["seal", "deblur"],
    "mistake": ["prepare", "debluur"],
}


def terminal(columns: int):
    def made(*, stderr: bool = False) -> Console:
        return Console(
            file=sys.stderr if stderr else sys.stdout, width=columns, highlight=False, markup=False
        )

    return made


def pieces(word: str) -> list[str]:
    """A word, where it may be broken: behind `-`, `_` and `/`."""
    return re.findall(r"[^-_/]*[-_/]+|[^-_/]+", word)


def broken(wide: str, narrow: str) -> list[str]:
    """Words of the wide text that are not whole in the narrow one."""
    there = set(narrow.split())
    parts = {piece for word in there for piece in pieces(word)}
    return [
        word
        for word in dict.fromkeys(wide.split())
        if word not in there and not set(pieces(word)) <= parts and set(word) - set("─━#")
    ]


# Those start the scorer's process each time; what they print goes through the same table.
SLOW = {each: pytest.mark.slow for each in ("score", "compare")}


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=SLOW.get(each, ())) for each in COMMANDS]
)
def test_every_command_shows_the_same_words_and_numbers(challenge, monkeypatch, command) -> None:
    said = {}
    for columns in (200, 80, 60):
        monkeypatch.setattr(printing, "console", terminal(columns))
        done = challenge(*COMMANDS[command])
        said[columns] = done.out + done.err
    assert said[200].strip()
    for columns in (80, 60):
        assert not broken(said[200], said[columns])
        assert not broken(said[columns], said[200]), "part of a word stands alone"


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
@pytest.mark.parametrize(
    "names",
    [("alpha", "tv"), ("a-team-of-three", "gradient-descent-with-momentum"), ("b" * 63, "c" * 63),
     ("图像复原", "deep_unrolled_network")],
    ids=["short", "long", "longest", "chinese"],
)  # fmt: skip
@pytest.mark.parametrize("outcome", ["28.71", "nondeterministic"])
def test_a_board_in_any_room(monkeypatch, capsys, columns, names, outcome) -> None:
    row = ("1", *names, outcome, "[28.09, 29.37]", "0.8190", "12:20 min")
    titles = ("", "team", "method", "PSNR (dB)", "95 %", "SSIM", "time")
    monkeypatch.setattr(printing, "console", terminal(columns))
    printing.table(titles, [row, row], title="deblur", left=("team", "method"))
    out = capsys.readouterr().out
    for cell in row[3:]:
        assert cell in out, "a number, an interval, a time with its unit is whole"
    assert not broken(" ".join([*row, *titles]), out)
    longest = max(width(piece) for cell in (*row, *titles) for piece in pieces(cell))
    room = max(columns, longest + max(map(width, titles)) + 2)
    assert max(width(line.rstrip()) for line in out.splitlines()) <= room


DETAILS = {
    "none": "",
    "infer": "projected total 3:20 min",
    "train": "loss 0.01234  PSNR 27.31  SSIM 0.801  weight 0.00712  images/s 1234",
}


@pytest.mark.parametrize("columns", [160, 80, 60, 40])
@pytest.mark.parametrize("details", DETAILS)
@pytest.mark.parametrize("name", ["train tv", "train gradient-descent-with-momentum-2"])
def test_progress_always_has_its_count(columns, details, name) -> None:
    bars = Progress(Line(columns), console=Console(width=columns, file=sys.stderr))
    number = bars.add_task(name, total=4000, completed=1234, details=DETAILS[details])
    task = bars.tasks[number]
    text = text_of(task, columns)
    assert max(map(width, text.split("\n"))) <= columns
    assert "1234/4000" in text
    for part in filter(None, DETAILS[details].split("  ")):
        assert part in text, "a number stays beside its name"
    assert not broken(f"{name} {DETAILS[details]}", text)
    number = bars.add_task(name, total=None, details="")
    assert "0/?" in text_of(bars.tasks[number], columns)


def test_the_bar_goes_before_anything_else() -> None:
    bars = Progress(Line(80))
    number = bars.add_task("train tv", total=10, completed=5, details="loss 0.1")
    task = bars.tasks[number]
    texts = [text_of(task, columns) for columns in range(80, 20, -1)]
    shown = ["━" in text for text in texts]
    assert shown[0] and not shown[-1]
    assert [key for key, _ in itertools.groupby(shown)] == [True, False]
    assert all("5/10" in text and "loss 0.1" in text for text in texts)
