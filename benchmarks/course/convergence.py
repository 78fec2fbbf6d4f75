"""Make the tables and pictures of docs/convergence.md: `challenge analyse` of several methods.

    python -m benchmarks.course.convergence [NAME=]RUN ...

RUN is a run or a packed entry; NAME stands in the table, by default the run's. An analysis lies
beside the pictures as `docs/convergence/NAME.json` and is used again where it is there already:
remove it to measure anew. Minutes a method.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.course.readme import ROOT, challenge

PAGE = ROOT / "docs" / "convergence.md"
PICTURES = ROOT / "docs" / "convergence"
BEGIN = "<!-- begin: python -m benchmarks.course.convergence -->"
END = "<!-- end of convergence -->"
MAPS = ("D", "I - D", "2D - I")


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    PICTURES.mkdir(exist_ok=True)
    found = {}
    for each in sys.argv[1:]:
        name, _, path = each.rpartition("=")
        found[name or Path(path).stem] = analysed(name or Path(path).stem, path)
    count = "Made by `python -m benchmarks.course.convergence`; behind a stroke, certified bounds."
    blocks = [constants(found), verdicts(found), pictures(found), count]
    pages.put(PAGE, BEGIN, END, "\n\n".join(blocks))


def analysed(name: str, path: str) -> dict[str, Any]:
    """The analysis of one method as JSON, measured where it is not there yet."""
    kept = PICTURES / f"{name}.json"
    if not kept.exists():
        found = json.loads(
            challenge("analyse", path, "--json", "--out", str(PICTURES / f"{name}.png"))
        )
        del found["picture"]  # where it lies on this machine
        kept.write_text(json.dumps(found, indent=1))
    analysis: dict[str, Any] = json.loads(kept.read_text())
    return analysis


def constants(found: dict[str, dict[str, Any]]) -> str:
    """One row a method and level: the largest constants seen, certified ones behind a stroke."""
    heads = ["method", "level", *MAPS, "asymmetry", "homogeneity", "least <v, J v>", "T", "law"]
    lines = [heads, ["---"] * len(heads)]
    for name, each in found.items():
        for number, level in enumerate(each["levels"]):
            own = [
                # An iteration has one row, and a level of its own for every image.
                at
                for at in each["iterations"]
                if each["kind"] == "iteration" or at["level"] == level["level"]
            ]
            lines.append(
                [
                    f"`{name}`",
                    step_or_level(each, number, level),
                    *(constant(level, word) for word in MAPS),
                    *(number_of(level[key]) for key in ("asymmetry", "homogeneity", "least")),
                    number_of(max((at["expansion"] or 0 for at in own), default=None)),
                    ", ".join(dict.fromkeys(law(at["rate"]) for at in own)),
                ]
            )
    return rows(lines)


def step_or_level(analysis: dict[str, Any], number: int, level: dict[str, Any]) -> str:
    if analysis["kind"] == "unrolled":
        return f"step {number + 1}"
    return f"{255 * level['level']:.3g}/255"


def constant(level: dict[str, Any], word: str) -> str:
    certified = level["certified"][word]
    measured = f"{max(level['norms'][word].values()):.3f}"
    return measured if certified is None else f"{measured} / {certified:.3f}"


def law(rate: dict[str, Any] | None) -> str:
    if rate is None:
        return ""
    value = rate["value"]
    return f"{value:.3g}^k" if rate["law"] == "linear" else f"k^{-value:.2g}"


def number_of(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def verdicts(found: dict[str, dict[str, Any]]) -> str:
    """One row a method, one column a theorem: its verdict, and the assumptions that fail."""
    theorems = list(
        dict.fromkeys(each["name"] for one in found.values() for each in one["theorems"])
    )
    lines = [["method", *theorems], ["---"] * (len(theorems) + 1)]
    for name, one in found.items():
        judged = {each["name"]: each for each in one["theorems"]}
        lines.append([f"`{name}`", *(verdict(judged.get(each)) for each in theorems)])
    return rows(lines)


def verdict(theorem: dict[str, Any] | None) -> str:
    if theorem is None:
        return ""
    failing = dict.fromkeys(
        row["words"]
        for level in theorem["levels"]
        for row in level["assumptions"]
        if row["verdict"] == "fails"
    )
    return theorem["verdict"] if not failing else f"fails: {'; '.join(failing)}"


def pictures(found: dict[str, dict[str, Any]]) -> str:
    return "\n\n".join(f"![{name}](convergence/{name}.png)" for name in found)


def rows(lines: list[list[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in each) + " |" for each in lines
    )


if __name__ == "__main__":
    main()
