"""`challenge analyse`: does it converge, and which theorem says so; measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, JsonOption, WorkspaceOption
from challenge.cli.shared.workspace import find_workspace, open_prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from challenge.cli.shared.console import Cell
    from challenge.submissions.reports.analysis import Analysis, Statement

FIRST = {"unrolled": "step", "flow": "time"}
"""What the rows of the constants are told apart by; else the noise level."""
IDENTITY = 1e-3
"""A denoiser whose I - D stretches nothing by more does nothing."""


def analyse(
    path: Annotated[
        Path,
        typer.Argument(
            help="A finished run or a packed entry.",
            metavar="RUN|ENTRY",
            autocompletion=completion.runs_and_entries,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The picture, a PNG; by default `analysis.png` in the run, or NAME.analysis.png "
            "beside the entry.",
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="S,S",
            help="Noise levels of a denoiser, as `5/255,0.1`; by default up to three in its range.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.algorithms,
            help="What a denoiser is plugged into: pgd, hqs, admm, drs, red, gs. By default gs "
            "where it has a potential, else pgd.",
        ),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(help="Step of that algorithm; by default half of 1 / L."),
    ] = None,
    challenge: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.prepared,
            help="Whose images and operator are taken; by default that of the run or entry.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of val.")] = 2,
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side in pixels of the centre of an image that is taken; by default 64, or all of "
            "it where the operator sees it as a whole.",
        ),
    ] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Steps that are followed.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 0,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Measure convergence and what its theorems assume.

    For denoisers, iterations with one such as `pnp`, `unrolled`, `deq` and `neural_ode`. Lower
    bounds of Lipschitz constants on images, on noise and at adversarial points; symmetry and
    homogeneity of the denoiser; steps of the iteration with their rate; of a flow how fast it
    may part, and how stiff it is. A theorem's assumption holds where the
    construction certifies it, fails where a point was found that refutes it, and is not certified
    otherwise: measurements at points prove nothing.

    The method runs in this process, without the judge's jail: analyse what you trust.

    Example: challenge analyse workspace/runs/denoising/drunet
    """
    from challenge.cli.shared import kinds
    from challenge.cli.shared.console import progress, show, show_json
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.load import load
    from challenge.submissions.reports import (
        candidates,
        convergence,
        convergence_pictures,
        subjects,
    )
    from challenge.submissions.reports.analysis import Settings

    if algorithm is not None and algorithm not in completion.ALGORITHMS:
        known = ", ".join(completion.ALGORITHMS)
        raise UserError.of("--algorithm", f"`{algorithm}` is none", f"give one of {known}")
    if step is not None and not 0 < step < float("inf"):
        raise UserError.of("--step", f"is `{step:g}`", "give a number above 0")
    asked = _levels(levels)
    if path.exists():
        kinds.expect([path], "run", "entry", also=kinds.ZIPS)
    (found,) = candidates.look_at([path], None)
    picture = out or _picture(found.path)
    kinds.expect_png_to_be(picture, "analysis.png")
    place = Workspace(find_workspace(workspace, found.path))
    opened = open_prepared(place.public(challenge or found.challenge))
    method = load(found.path)
    settings = Settings(
        images=images,
        size=size,
        iterations=iterations,
        levels=asked,
        algorithm=algorithm,  # type: ignore[arg-type]
        step=step,
        seed=seed,
    )
    subjects.check_asked(method, subjects.kind_of(method, found.name), settings)
    with progress() as report:
        done = convergence.analyse(method, found.name, opened, settings, report)
    convergence_pictures.draw(picture, done)
    if as_json:
        show_json({**done.to_json(), "picture": str(picture)})
        return
    _show(done)
    _conclude(done)
    show(f"look at {picture}")


def _picture(path: Path) -> Path:
    """Of a run, in it; of an entry, beside it; of a baseline here, not in the toolkit."""
    from challenge.submissions import layout

    if path.is_dir():
        return path / "analysis.png"
    beside = path.with_suffix(".analysis.png")
    packaged = {each.resolve() for each in layout.baselines().values()}
    return Path(beside.name) if path.resolve() in packaged else beside


def _levels(text: str | None) -> tuple[float, ...]:
    """Numbers and fractions, separated by commas."""
    from fractions import Fraction

    from challenge.configs.errors import UserError

    found = []
    for each in (text or "").split(","):
        if not each.strip():
            continue
        try:
            value = float(Fraction(each.strip()))
        except (ValueError, ZeroDivisionError, OverflowError):
            value = 0.0
        if not 0 < value <= 1:
            remedy = "give levels above 0 and at most 1, such as `5/255,0.1`"
            raise UserError.of("--levels", f"`{each.strip()}` is no noise level", remedy)
        found.append(value)
    return tuple(found)


def _show(found: Analysis) -> None:
    """Constants, iterations, then every theorem with its assumptions."""
    from challenge.cli.shared.console import show_block, table, wrapped

    rows: list[list[Cell]] = []
    for each in found.levels:
        name = each.label
        whole = [each.asymmetry, each.homogeneity, each.radius, each.least]
        for kind in each.norms["D"]:
            constants = [f"{each.norms[word][kind]:.3f}" for word in each.norms]
            first = kind == "data"
            others = [_number(value) if first else "" for value in whole]
            rows.append([name, kind, *constants, *others])
        bounds = each.certified.values()
        if any(bound is not None for bound in bounds):
            limits = ["" if bound is None else f"<={bound:.3f}" for bound in bounds]
            rows.append([name, "certified", *limits, "", "", "", ""])
    columns: list[Cell] = [
        FIRST.get(found.kind, "level"),
        "points",
        "D",
        "I - D",
        "2D - I",
        "asym.",
        "homog.",
        "eigen.",
        ("least", "<v,Jv>"),
    ]
    title = f"{found.name}: Lipschitz constants are at least"
    table(columns, rows, title=title, left=("level", "step", "time", "points"))
    count = len(found.images)
    what = f"{count} image{'s' * (count != 1)}, the centre, {found.settings.size} pixels wide"
    meaning = "asym(metry), homog(eneity), an eigen(value) of the Jacobian J: docs/convergence.md"
    show_block(wrapped(f"On val of {found.challenge}: {what}, in float32; {meaning}."))
    if found.whole is not None:
        other = f"another operator than that of {found.whole}, which sees all of an image"
        show_block(wrapped(f"So many pixels have {other}: leave out --size for that one."))
    _show_iterations(found)
    for statement in found.statements:
        _show_statement(statement)
    if found.silent:
        names = ", ".join(f"{each.name} (of {', '.join(each.algorithms)})" for each in found.silent)
        show_block(wrapped(f"Of this iteration these say nothing: {names}."))


def _conclude(found: Analysis) -> None:
    """What all of it comes to, in a few lines."""
    from challenge.cli.shared.console import show_block, wrapped

    lines = []
    residual = max(max(each.norms["I - D"].values()) for each in found.levels)
    if found.kind not in FIRST and residual < IDENTITY:
        lines.append("D changes next to nothing: it is the identity, and denoises nothing.")
    verdicts = {each.theorem.name: each.verdict for each in found.statements}
    # Of a denoiser alone, a theorem may speak of another iteration than the one that was followed.
    iterations = {each.theorem.name: each.algorithm for each in found.statements}
    proofs = [f"{name} ({iterations[name]})" for name in verdicts if verdicts[name] == "holds"]
    refuted = [name for name, verdict in verdicts.items() if verdict == "fails"]
    if found.kind == "flow":
        lines += _of_flows(found)
    elif proofs:
        lines.append(f"That it converges follows from {_names(proofs)}.")
    else:
        lines.append("No theorem proves that it converges.")
    if refuted:
        lines.append(f"An assumption was seen to fail of {_names(refuted)}.")
    if len(proofs) + len(refuted) < len(verdicts):
        lines.append("What is not certified was not seen to fail, at the points that were tried.")
    if found.kind == "flow":
        show_block(wrapped(" ".join(lines)))
        return
    first, last = (max(each.steps[k] for each in found.courses) for k in (0, -1))
    count = max(len(each.steps) for each in found.courses)
    lines.append(f"In {count} steps the change of a step went from {first:.1e} to {last:.1e}.")
    show_block(wrapped(" ".join(lines)))


def _of_flows(found: Analysis) -> list[str]:
    """Sentences about a flow: its growth, its stiffness, the error of its steps."""
    from challenge.submissions.reports.facts import worst_passage

    passages = [each.passage for each in found.courses if each.passage is not None]
    worst = worst_passage(passages)
    assert worst is not None
    if worst.stopped is not None:
        return [f"It could not be followed to its end: {worst.stopped}."]
    ends = [each.expansion for each in found.courses]
    if any(each is None for each in ends):
        lines = ["Its steps leave the numbers of float32."]
    else:
        apart = max(each for each in ends if each is not None)
        lines = [f"Two flows that begin as far apart as the noise end {apart:.2g} times as far."]
    taken = max(each.steps for each in passages)
    if worst.stiffness is not None:
        lines.append(f"In {taken} steps h |lambda| of {worst.stiffness:.2g} was seen.")
    if worst.growth is None and all(each is not None for each in ends):
        lines.append(
            "Its field has no derivative that agrees with its values (a data step may be cut off): "
            "nothing is known of its growth and its eigenvalues."
        )
    if any(each.error is None for each in passages):
        lines.append("A flow with a tolerance of 1e-5, to hold it against, is too stiff.")
    else:
        end = f"{worst.error:.1e} away from that of a flow with a tolerance of 1e-5"
        lines.append(f"The end of {worst.solver} is {end}.")
    return lines


def _names(theorems: Sequence[str]) -> str:
    *others, last = theorems
    return f"{', '.join(others)} and {last}" if others else last


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.0e}"


def _show_iterations(found: Analysis) -> None:
    from challenge.cli.shared.console import table
    from challenge.submissions.reports.convergence_pictures import law

    if found.kind == "flow":
        _show_flows(found)
        return
    rows = [
        [
            each.identity,
            f"{255 * each.level:.3g}/255",
            "-" if each.step is None else f"{each.step:.3g}",
            f"{each.steps[0]:.1e}",
            f"{each.steps[-1]:.1e}",
            law(each),
            "-" if each.expansion is None else f"{each.expansion:.3f}",
            "-" if each.apart is None else f"{each.apart:.1e}",
            "-" if each.rise is None else _number(each.rise),
        ]
        for each in found.courses
    ]
    columns = [
        "image",
        "level",
        "step",
        ("first", "change"),
        ("last", "change"),
        "law",
        ("T at", "least"),
        ("limits", "apart"),
        ("largest", "rise of F"),
    ]
    count = max(len(each.steps) for each in found.courses)
    title = f"{found.courses[0].algorithm}, {count} steps x_k+1 = T(x_k)"
    table(columns, rows, title=title, left=("image", "level"))


def _show_flows(found: Analysis) -> None:
    from challenge.cli.shared.console import table

    rows = [
        [
            each.identity,
            f"{at.steps}" + (f" + {at.rejected}" if at.adaptive else ""),
            str(at.evaluations),
            *(
                "-" if value is None else f"{value:.3g}"
                for value in (at.growth, at.stiffness, at.amplification, each.expansion)
            ),
            "-" if at.error is None else f"{at.error:.1e}",
        ]
        for each in found.courses
        if (at := each.passage) is not None
    ]
    columns = [
        "image",
        ("steps", "+ rejected"),
        "v(x, t)",
        ("m at", "least"),
        "h |lambda|",
        "|R|",
        ("ends", "apart"),
        ("error of", "the steps"),
    ]
    table(columns, rows, title=f"{found.courses[0].algorithm}, x' = v(x, t)", left=("image",))


def _show_statement(statement: Statement) -> None:
    from challenge.cli.shared.console import show, show_block, table, wrapped

    theorem = statement.theorem
    show(f"{theorem.name} ({statement.algorithm}): {statement.verdict}")
    show_block(wrapped(f"{theorem.source}. {theorem.statement}", "  ", "  "))
    rows = [[each.words, each.measured, each.verdict] for each in statement.rows]
    columns = ["assumption", "measured", "verdict"]
    table(columns, rows, left=columns)
