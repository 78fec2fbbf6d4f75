"""Make the README's table and picture: every method, packed and judged on `deblur`.

    python -m benchmarks.course.readme [WORKSPACE]

Uses the packaged configs and the commands themselves. A run or verdict that exists already is
used again, so it can be stopped and continued. Let nothing else run while it judges.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import pages
from challenge.data.images.codec import stored, to_unit
from challenge.data.layout import Workspace
from challenge.data.physics.measurements import read
from challenge.submissions import layout
from challenge.submissions.judging.result import Result
from challenge.submissions.reports.comparison import size_of_weights
from challenge.submissions.scoring.metrics import psnr, ssim
from challenge.submissions.scoring.scores import Interval

ROOT = Path(__file__).parents[2]
METHODS = {
    "wiener": ["wiener"],
    "tv": ["tv"],
    "huber": ["huber"],
    "bilevel": ["bilevel"],
    "adapt": ["adapt", "method.of=baseline/ensemble", "uses.external_data=true"],
}
"""Made here in a minute; the others are `submissions/baselines/*.zip`, trained already."""
ELSEWHERE = ("neural_ode",)
"""Runs of `dynamics`, where it was run: for all baselines there are 60 MB, and these have no room.
"""
SHOWN = ("tv", "unet", "ensemble")
"""In the picture."""
WORDS = {"builtin": "procedural images", "folder": "photographs", "phantoms": "phantoms"}
BEGIN, END = "<!-- begin: python -m benchmarks.course.readme -->", "<!-- end -->"


def challenge(*arguments: str) -> str:
    """Run a command; its messages go to the terminal, its output is returned."""
    script = "from challenge.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def main() -> None:
    workspace = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    option = ["--workspace", str(workspace.path)]
    public, hidden = workspace.public("deblur"), workspace.hidden("deblur")
    if not public.config.exists():
        challenge("prepare", "deblur", *option)
    zips = []
    for name, settings in METHODS.items():
        run = workspace.path / "runs" / "deblur" / name
        if not (run / "weights.safetensors").exists():
            resume = ["--resume"] if (run / "config.yaml").exists() else []
            challenge("train", *settings, *resume, *option)
        zips.append(str(layout.entry(workspace, "readme", name)))
        challenge("pack", str(run), "--team", "readme")
    for name in ELSEWHERE:
        run = workspace.path / "runs" / "shakes" / name
        if (run / "weights.safetensors").exists():
            challenge("pack", str(run), "--team", "readme")
            packed = layout.entry(workspace, "readme", name)
            anew = ("pack", str(packed), "--team", "readme", "--challenge", "deblur")
            challenge(*anew, *option)
            zips.append(str(packed.with_stem(f"{packed.stem}-deblur")))
    elsewhere = {*layout.denoisers().values(), *layout.medicine().values()}
    zips += [str(path) for path in layout.baselines().values() if path not in elsewhere]
    verdicts = json.loads(challenge("score", *zips, "--hidden", str(hidden.path), "--json"))
    judged = [Result.model_validate(each) for each in verdicts]
    rows = {each.entry.name: each for each in judged}
    pages.put(ROOT / "README.md", BEGIN, END, _table(workspace, hidden, rows))
    _picture(hidden, [rows[name] for name in SHOWN if name in rows])


def _blurred(hidden: Any) -> tuple[float, float, int]:
    scores = []
    for identity in hidden.ids():
        y, truth = read(hidden.measurement(identity)).y, to_unit(stored(hidden.image(identity)))
        scores.append((psnr(estimate=y, truth=truth), ssim(estimate=y, truth=truth)))
    means = np.mean(scores, axis=0)
    return float(means[0]), float(means[1]), len(scores)


def _table(workspace: Workspace, hidden: Any, rows: dict[str, Result]) -> str:
    level, similarity, count = _blurred(hidden)
    base = _mean(rows["tv"].psnr)
    lines = [
        "| method | PSNR (dB) | over TV | SSIM | seconds an image | MB | parameters | trained |",
        "|---|---|---|---|---|---|---|---|",
        f"| blurred | {level:.2f} | {level - base:+.2f} | {similarity:.3f} | | | | |",
    ]
    for name, row in sorted(rows.items(), key=lambda each: _mean(each[1].psnr)):
        entry = workspace.path / "entries" / f"{row.entry.team}-{name}.zip"
        facts = training(entry)
        size, parameters = size_of_weights(entry)
        assert row.psnr and row.ssim
        mean, low, high = row.psnr.mean, row.psnr.low, row.psnr.high
        seconds = np.mean([each.seconds for each in row.images])
        lines.append(
            f"| `{name}` | {mean:.2f} [{low:.2f}, {high:.2f}] | {mean - base:+.2f} | "
            f"{row.ssim.mean:.3f} | {seconds:.2f} | {size / 1e6:.2f} | {parameters:,} | "
            f"{duration(facts['seconds'])} on "
            f"{facts['images']} {WORDS[facts['source']]} |"
        )
    return "\n".join(lines) + (
        f"\n\nAs judged on the {count} hidden test images of `deblur` (crops of scikit-image's "
        "photographs), with 2 threads; in brackets the 95 % bootstrap interval of the mean over "
        "the images. Those trained on photographs, but for `neural_ode`, are the entries in "
        "`submissions/baselines/`, and `adapt` is of one of them. Made by "
        "`python -m benchmarks.course.readme`."
    )


def training(entry: Path) -> dict[str, Any]:
    """How the weights of an entry came about, as its manifest says."""
    with zipfile.ZipFile(entry) as file:
        found: dict[str, Any] = json.loads(file.read("manifest.json"))["training"]
    return found


def _mean(scores: Interval | None) -> float:
    assert scores is not None
    return scores.mean


def duration(seconds: float) -> str:
    """`40 s`, `12 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _picture(hidden: Any, rows: list[Result]) -> None:
    """Blurred, TV, network and truth side by side, of the image where TV is at its median."""
    ranked = sorted(rows[0].images, key=lambda each: each.psnr or 0)
    shown = ranked[len(ranked) // 2].id
    truth = to_unit(stored(hidden.image(shown)))
    panels = [("blurred", read(hidden.measurement(shown)).y)]
    for row in rows:
        panels.append(
            (
                row.entry.name,
                np.load(hidden.judged(row.entry.label) / f"{shown}.npy"),
            )
        )
    panels.append(("truth", truth))
    side, gap, caption = 256, 6, 22
    sheet = Image.new("RGB", (len(panels) * (side + gap) - gap, side + caption), "white")
    for column, (name, picture) in enumerate(panels):
        left = column * (side + gap)
        pixels = (picture.clip(0, 1).transpose(1, 2, 0) * 255).round().astype(np.uint8)
        sheet.paste(Image.fromarray(pixels.squeeze()).resize((side, side)), (left, 0))
        text = name if name == "truth" else f"{name} {psnr(estimate=picture, truth=truth):.1f} dB"
        ImageDraw.Draw(sheet).text((left + 4, side + 4), text, fill="black", font_size=14)
    sheet.save(ROOT / "docs" / "deblur.png")


if __name__ == "__main__":
    main()
