"""Make packed baselines of finished runs, and the table of all of them.

    python -m benchmarks.course.baselines RUN...

Copies `challenge pack RUN --team baseline` to `submissions/baselines/`, and writes the table of
its README between the markers, from the entries themselves.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks import pages
from benchmarks.course.readme import WORDS, challenge, duration, training
from challenge.data.layout import Workspace
from challenge.submissions import layout
from challenge.submissions.reports.comparison import size_of_weights

FOLDER = Path(__file__).parents[2] / "submissions" / "baselines"
BEGIN, END = "<!-- begin: python -m benchmarks.course.baselines -->", "<!-- end -->"


def main() -> None:
    made = [layout.Run(Path(each).resolve()) for each in sys.argv[1:]]
    for workspace in {run.path.parents[2] for run in made}:
        package(Workspace(workspace), [run for run in made if run.path.parents[2] == workspace])
    describe()


def package(workspace: Workspace, made: Sequence[layout.Run], folder: Path = FOLDER) -> None:
    """Make a baseline of each of these finished runs of a workspace, in a folder."""
    folder.mkdir(exist_ok=True)
    for run in made:
        challenge("pack", str(run.path), "--team", "baseline")
        entry = layout.entry(workspace, "baseline", run.path.name)
        (folder / f"{run.path.name}.zip").write_bytes(entry.read_bytes())


def describe() -> None:
    """Write the table of the baselines."""
    lines = [
        "| name | method | MB | parameters | seed | trained on | for | on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, path in layout.baselines().items():
        with zipfile.ZipFile(path) as file:
            config = yaml.safe_load(file.read("config.yaml"))
        facts, (size, parameters) = training(path), size_of_weights(path)
        images = f"{facts['images']} {WORDS[facts['source']]}"
        lines.append(
            f"| `{name}` | `{config['method']['name']}` | {size / 1e6:.2f} | {parameters:,} | "
            f"{facts['seed']} | {images}, `{config['challenge']}` | "
            f"{duration(facts['seconds'])} | {facts['machine']} |"
        )
    page = FOLDER / "README.md"
    pages.put(page, BEGIN, END, "\n".join(lines))


if __name__ == "__main__":
    main()
