"""Distance to the lasso's minimiser: ISTA, FISTA, and 16 trained layers of LISTA of each kind.

    python -m benchmarks.course.sparse_coding [--full]

Problems as in Gregor, LeCun 2010, four units for each measurement: normal dictionary with columns
of norm 1, codes drawn sparse, lam 0.05, at which about 9 percent of the minimiser is not 0. 50x200
by default, about 3 minutes on one core; their 100x400 with --full. Networks are trained on 20,000
problems and judged on 1,000 others. The seconds are of training, or of all iterations shown.
Writes `docs/course/tuesday-lista.png` and prints the table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from challenge.methods.end_to_end.sparse_coding import Lista, Problem, nmse, recovery, train_lista
from challenge.methods.solvers.lasso import fista, ista
from challenge.submissions.reports.training_pictures import COLOURS

PICTURE = Path(__file__).parents[2] / "docs" / "course" / "tuesday-lista.png"
LAM, DENSITY = 0.05, 0.05
LAYERS, POOL, TEST, STEPS = 16, 20_000, 1000, 1500
SHOWN = (1, 2, 4, 8, 16, 32, 64, 160, 320, 640)
KINDS: dict[str, dict[str, Any]] = {
    "LISTA tied": {"mode": "tied"},
    "LISTA untied": {"mode": "untied"},
    "LISTA coupled": {"mode": "coupled"},
    "LISTA coupled, one W": {"mode": "coupled", "shared": True},
}

Curve = dict[int, float]
"""Distance in dB by number of layers or iterations."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.course.sparse_coding")
    parser.add_argument("--full", action="store_true", help="100x400 in place of 50x200")
    m, n = (100, 400) if parser.parse_args().full else (50, 200)
    torch.set_num_threads(1)  # The times are those of one core.
    problem = Problem.gaussian(m, n, lam=LAM, density=DENSITY)
    y, reference = problem.draw(TEST, seed=1)
    pool = problem.draw(POOL, seed=0)
    print(f"{m}x{n}, {100 * float((reference != 0).double().mean()):.1f} % of z* is not 0\n")
    print("| | " + " | ".join(map(str, SHOWN)) + " | as ISTA after | F1 | parameters | seconds |")
    print("|---|" + "---|" * (len(SHOWN) + 4))
    curves: dict[str, Curve] = {}
    for name, solver in (("ISTA", ista), ("FISTA", fista)):
        began = time.perf_counter()
        codes = {k: solver(y, problem.dictionary, LAM, k) for k in SHOWN}
        curves[name] = {k: nmse(z, reference) for k, z in codes.items()}
        seconds = time.perf_counter() - began
        print(_row(name, curves[name], "", codes[LAYERS], reference, None, seconds), flush=True)
    for name, kind in KINDS.items():
        net = Lista(problem.dictionary.float(), LAM, layers=LAYERS, **kind)
        began = time.perf_counter()
        train_lista(net, *pool, steps=STEPS)
        seconds = time.perf_counter() - began
        with torch.no_grad():
            codes = {k: net(y.float(), k) for k in range(1, LAYERS + 1)}
        curves[name] = {k: nmse(z, reference) for k, z in codes.items()}
        reached = _needed(y, reference, problem, curves[name][LAYERS])
        count = sum(parameter.numel() for parameter in net.parameters())
        final = codes[LAYERS]
        print(_row(name, curves[name], reached, final, reference, count, seconds), flush=True)
    _draw(curves, f"lasso, {m}x{n}, lam {LAM}")


def _row(
    name: str,
    curve: Curve,
    reached: str,
    codes: Tensor,
    reference: Tensor,
    parameters: int | None,
    seconds: float,
) -> str:
    levels = " | ".join(f"{curve[k]:.1f}" if k in curve else "" for k in SHOWN)
    count = f"{parameters:,}" if parameters else ""
    f1 = recovery(codes, reference).f1
    return f"| {name} | {levels} | {reached} | {f1:.2f} | {count} | {seconds:.0f} |"


def _needed(y: Tensor, reference: Tensor, problem: Problem, level: float) -> str:
    """After how many iterations, a multiple of 10, ISTA is as close."""
    few, many = 0, 2000
    while many - few > 10:
        middle = (few + many) // 20 * 10
        near = nmse(ista(y, problem.dictionary, problem.lam, middle), reference) <= level
        few, many = (few, middle) if near else (middle, many)
    return str(many)


def _draw(curves: dict[str, Curve], title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        line = ".-" if name.startswith("LISTA") else "--"
        axes.plot(list(curve), list(curve.values()), line, color=colour, label=name)
    axes.axvline(LAYERS, color="0.8", zorder=0)
    axes.set(xscale="log", xlabel="layers or iterations", title=title)
    axes.set(ylabel="distance to the minimiser (dB)", ylim=(None, 3))
    axes.set_xticks(SHOWN, map(str, SHOWN), minor=False)
    axes.minorticks_off()
    axes.legend()
    FigureCanvasAgg(figure).print_png(PICTURE)


if __name__ == "__main__":
    main()
