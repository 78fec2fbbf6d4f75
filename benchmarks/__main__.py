"""Measure every promised number as a ratio, in one run.

    python -m benchmarks [--quick] [NAME ...]

Writes `benchmarks/results.json`, and the table of `docs/performance.md` between its two markers.
Prints what falls short and exits with 1 where something does. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import pages
from benchmarks.speed.timing import Result, holds

HERE = Path(__file__).parent
NAMES = (
    *(
        "start",
        "tv",
        "judging",
        "cluster",
        "cluster_many",
        "organiser",
        "scoring",
        "memory",
        "training",
    ),
    *("bilevel", "bm3d", "denoisers", "tomography", "tomography_deepinv", "scico_admm", "pages"),
)
BEGIN, END = "<!-- begin: python -m benchmarks -->", "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repeats; nothing is written")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    chosen = arguments.names or NAMES
    stored = HERE / "results.json"
    results: dict[str, list[Result]] = (
        json.loads(stored.read_text())["results"] if stored.exists() else {}
    )
    found: dict[str, list[Result]] = {}
    for name in chosen:
        print(f"... {name}", file=sys.stderr, flush=True)
        found[name] = importlib.import_module(f"benchmarks.speed.{name}").run(arguments.quick)
        for result in found[name]:
            print(_line(result), flush=True)
    # Where a peer is not installed, what was measured with it stands.
    results |= {name: each for name, each in found.items() if each}
    short = [each for part in found.values() for each in part if not holds(each)]
    if not arguments.quick:
        ordered = {name: results[name] for name in NAMES if name in results}
        facts = {"format": 1, "machine": _machine(), "results": ordered}
        stored.write_text(json.dumps(facts, indent=2) + "\n")
        _write_page(ordered)
    for result in short:
        print(f"falls short: {_line(result)}")
    return 1 if short else 0


def _line(result: Result) -> str:
    sign = "<=" if result["better"] == "lower" else ">="
    return (
        f"{'ok   ' if holds(result) else 'SHORT'} {result['what']}: {result['measured']:.3g} "
        f"{result['unit']} (asked {sign} {result['target']:g}) {result['detail']}"
    )


def _machine() -> dict[str, str | int | None]:
    names = ("torch", "deepinv", "scikit-image", "numpy", "scipy")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in names},
    }


def _write_page(results: dict[str, list[Result]]) -> None:
    rows = ["| what | measured | asked | | in this run |", "|---|---|---|---|---|"]
    for each in (each for part in results.values() for each in part):
        sign = "<=" if each["better"] == "lower" else ">="
        verdict = "holds" if holds(each) else "**falls short**"
        rows.append(
            f"| {each['what']} | {each['measured']:.3g} {each['unit']} | {sign} "
            f"{each['target']:g} | {verdict} | {each['detail']} |"
        )
    page = HERE.parent / "docs" / "performance.md"
    machine = ", ".join(f"{key} {value}" for key, value in _machine().items())
    table = "\n".join(rows)
    pages.put(page, BEGIN, END, f"{table}\n\nMeasured with {machine}.")


if __name__ == "__main__":
    sys.exit(main())
