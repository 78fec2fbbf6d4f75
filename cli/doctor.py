"""`challenge doctor`: what this machine has, what it can enforce, and how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from challenge.cli.shared.options import WORKSPACE, IsolationOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from challenge.data.layout import Workspace
    from challenge.submissions.inference.speed import Speed, Timing

BUSY = 1.0
"""From a kernel's lowest to its highest tenth, beside its median, where other programs disturb."""


def doctor(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine's speed, about 5 s.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Measure on so many; by default as challenges say."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every attempt on the isolation, not what failed alone.")
    ] = False,
    level: IsolationOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Show what this machine can enforce, and how fast it is.

    Isolation is tried from inside: what an entry must not do is attempted, at the strongest level
    that holds here or at the one that is given. The first line says whether entries of strangers
    can be judged here; `--all` lists the attempts.

    An organiser measures the judging machine once; the kit hands its speed to the teams, whose
    `infer`, `check --run` and `pack` then say how long an entry will take there.

    Example: challenge doctor --calibrate
    """
    from challenge.cli.shared import isolation_table
    from challenge.cli.shared.console import show, show_json
    from challenge.configs.errors import UserError
    from challenge.data.layout import Workspace
    from challenge.submissions import layout
    from challenge.submissions.inference import speed
    from challenge.submissions.inference.forecast import FRESH
    from challenge.submissions.jail.probe.choose import choose, named

    if threads is not None and not calibrate:
        raise UserError.of("--threads", "is for a measurement", "give `--calibrate` too")
    place = Workspace(workspace)
    saved = True
    if calibrate:
        for count in [threads] if threads else _wanted(place):
            saved = _calibrate(place, count) and saved
    here = speed.read(layout.speed(place))
    judge = speed.read(layout.judge_speed(place), FRESH)
    facts = _facts(place)
    levels = isolation_table.levels_here()
    # A level that does not hold is shown too: what fails in it is what one wants to know.
    tried = isolation_table.tried(named(level) if level else choose())
    if as_json:
        facts |= {"speed": speed.to_json(here), "judge": speed.to_json(judge)}
        show_json(facts | {"isolation": isolation_table.to_json(tried, levels)})
    else:
        show(isolation_table.verdict(tried, facts["torch_fault"]))
        _show(facts)
        isolation_table.show(tried, levels, every=every)
        _speeds(here, judge)
    if tried["fails"] or not saved:
        raise typer.Exit(1)


def _wanted(place: Workspace) -> list[int]:
    """The numbers of threads that the prepared challenges are judged on."""
    from challenge.configs.schema.challenge import Limits
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Public

    folders = map(Public, sorted(place.public("any").path.parent.glob("[!.]*")))
    found = {
        open_challenge(public.path).config.limits.threads
        for public in folders
        if public.manifest.is_file()
    }
    return sorted(found) or [Limits().threads]


def _calibrate(place: Workspace, threads: int) -> bool:
    """Measure and save the speed; False where other programs made it no speed."""
    from challenge.cli.shared.console import say, warn
    from challenge.submissions import layout
    from challenge.submissions.inference import speed
    from challenge.submissions.inference.forecast import counted

    say(f"measuring this machine's speed on {counted(threads)}, about 5 s")
    found = speed.measure(threads)
    saved = speed.store(layout.speed(place), found)
    spread = found.kernels[found.worst].spread
    if spread > BUSY:
        nothing = "" if saved else ", so nothing was saved"
        older = "" if saved else "; what is shown was measured before"
        warn(
            f"other programs disturbed the measurement: `{found.worst}` spreads by "
            f"{100 * spread:.0f} %{nothing}; close them and measure again{older}"
        )
    return saved


def _facts(place: Workspace) -> dict[str, Any]:
    """What this machine has; `bf16` is null where torch does not work, and `torch_fault` why.

    `control_group`: `memory` where one can be made that counts it, `processes` where it can only
    end them together, null where there is none.
    """
    import tempfile

    from challenge.submissions import machine
    from challenge.submissions.inference import speed
    from challenge.submissions.jail import cgroup

    with cgroup.group() as group:
        counted = None if group is None else "memory" if group.counts_memory else "processes"
    bf16, fault = speed.has_bf16()
    return {
        "format": 1,
        "versions": machine.versions(),
        **machine.describe(),
        "usable_cores": machine.cores(),
        "control_group": counted,
        "bf16": None if fault else bf16,
        "torch_fault": fault or None,
        "free": {str(path): _free(path) for path in (place.path, Path(tempfile.gettempdir()))},
    }


def _free(path: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    import shutil

    place = path.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _show(facts: dict[str, Any]) -> None:
    from challenge.cli.shared.console import table

    bf16 = {True: "yes", False: "no: `auto` computes in float32", None: "unknown"}[facts["bf16"]]
    groups = {
        "memory": "yes: counts all memory, the kernel's too",
        "processes": "yes, but memory is not counted in it",
        None: "no: memory of the kernel is not counted",
    }
    torch = facts["versions"]["torch"]
    rows = [
        ("challenge", facts["versions"]["toolkit"]),
        ("Python", facts["python"]),
        ("torch", f"{torch}, broken: {facts['torch_fault']}" if facts["torch_fault"] else torch),
        ("deepinv", facts["versions"]["deepinv"]),
        ("system", facts["system"]),
        ("processor", facts["processor"]),
        ("cores", f"{facts['cores']}, usable {facts['usable_cores']}"),
        ("bfloat16", bf16),
        ("control group", groups[facts["control_group"]]),
        ("memory", f"{facts['memory'] / 1e9:.1f} GB"),
        *((f"free in {path}", f"{free / 1e9:.1f} GB") for path, free in facts["free"].items()),
    ]
    table(("", "this machine"), rows, left=("", "this machine"))


def _speeds(here: Sequence[Speed], judge: Sequence[Speed]) -> None:
    """A table for each number of threads: this machine beside the judge's."""
    from challenge.cli.shared.console import say, show, table
    from challenge.submissions.inference.forecast import counted, image_ratio

    if not here:
        say("this machine's speed was not measured; `challenge doctor --calibrate` does it")
    for count in sorted({each.threads for each in (*here, *judge)}):
        mine = next((each for each in here if each.threads == count), None)
        theirs = next((each for each in judge if each.threads == count), None)
        known = [(word, each) for word, each in (("here", mine), ("judge", theirs)) if each]
        columns = ["kernel"]
        for word, _ in known:
            columns += [f"{word} (ms)", "10 to 90 %"]
        both = mine is not None and theirs is not None
        names = dict.fromkeys(name for _, each in known for name in each.kernels)
        rows = []
        for name in names:
            timings = [each.kernels.get(name) for _, each in known]
            row = [name, *(cell for timing in timings for cell in _cells(timing))]
            if both:
                first, second = timings
                row.append(f"{second.seconds / first.seconds:.2f}" if first and second else "")
            rows.append(row)
        if both:
            columns.append("judge / here")
        table(columns, rows, title=f"speed on {counted(count)}", left=("kernel",))
        for word, each in known:
            show(
                f"{word:8}  {each.machine.get('processor')}, torch {each.torch}, "
                f"{each.measured.partition('T')[0]}"
            )
        if mine is not None and not mine.is_here:
            say("the speed of `here` is of another machine or torch; measure with `--calibrate`")
        if mine is not None and theirs is not None:
            found = image_ratio(mine, theirs)
            show(
                f"an image takes {found.expected:.2f} [{found.low:.2f}, {found.high:.2f}] times "
                f"as long on the judge's"
            )


def _cells(timing: Timing | None) -> tuple[str, str]:
    """A time and its spread, in milliseconds."""
    if timing is None:
        return "", ""
    low, median, high = (1e3 * each for each in (timing.low, timing.seconds, timing.high))
    return f"{median:.2f}", f"{low:.2f}-{high:.2f}"
