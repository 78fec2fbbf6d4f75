"""`challenge train CONFIG --sweep KEY=A,B`: one run for every combination, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from challenge.cli.shared.training import Where, exit_code, train_and_show

if TYPE_CHECKING:
    from challenge.submissions.runs.sweep import Planned


def run_all(config: str, overrides: Sequence[str], sweep: Sequence[str], where: Where) -> None:
    """Train every combination one after the other, then show them in one table.

    With `--resume`, runs that are finished are taken as they are, one that was stopped goes on.
    A run that fails, by a learning rate that is too high, say, is a line of the table.

    Raises:
        UserError: a setting is wrong; found for all combinations before the first is trained.
    """
    from dataclasses import replace

    from challenge.cli.shared.console import fail, say
    from challenge.configs.errors import UserError
    from challenge.submissions.runs.sweep import held, plan

    if where.processes > 1:
        raise UserError.of("--sweep", "trains with one process", "leave `--processes` out")
    fresh = not (where.resume or where.force)
    planned = plan(config, overrides, sweep, where.workspace, fresh=fresh)
    failures: dict[str, str] = {}
    with held(planned):
        for number, each in enumerate(planned, 1):
            point, resume = each.point, where.resume and each.run.path.exists()
            if resume and each.is_finished():
                say(f"{number}/{len(planned)} {point.name}: is finished already")
                continue
            say(f"{number}/{len(planned)} {' '.join(point.settings)}")
            try:
                done = train_and_show(config, each.overrides, replace(where, resume=resume))
            except UserError as error:
                fail(error)
                failures[point.name] = str(error.mistakes[0])
                continue
            if not done.finished:
                say("the whole sweep continues with the same command and --resume")
                raise typer.Exit(exit_code(done))
    _show(planned, failures)
    if failures:
        raise typer.Exit(1)


def _show(planned: Sequence[Planned], failures: dict[str, str]) -> None:
    """One line for each run: settings, quality on the tune part, time and size."""
    from challenge.cli.shared.console import show, table
    from challenge.submissions.runs.facts import read_facts
    from challenge.submissions.runs.log import best

    keys = [text.partition("=")[0] for text in planned[0].point.settings]
    rows, reached = [], []
    for each in planned:
        point, run = each.point, each.run
        values = [text.partition("=")[2] for text in point.settings]
        if point.name in failures:
            rows.append((*values, "failed", "", "", "", ""))
            continue
        found, made = best(run), read_facts(run)
        psnr, ssim = found.get("psnr"), found.get("ssim")
        if psnr is not None:
            reached.append((psnr, run))
        rows.append(
            (
                *values,
                "" if psnr is None else f"{psnr:.2f}",
                "" if ssim is None else f"{ssim:.4f}",
                f"{found['step']:.0f}" if found else "",
                f"{made.seconds:.0f}",
                f"{made.parameters:,}",
            )
        )
    columns = (*keys, "PSNR (dB)", "SSIM", "best at step", "seconds", "parameters")
    table(columns, rows, title="on the tune part", left=keys)
    for name, cause in failures.items():
        show(f"{name}: {cause}")
    if reached:
        show(f"best: {max(reached, key=lambda each: each[0])[1].path}")
    elif len(planned) > len(failures):
        paths = " ".join(str(each.run.path) for each in planned if each.point.name not in failures)
        show(f"no PSNR on the tune part to choose by; on val: challenge compare {paths}")
