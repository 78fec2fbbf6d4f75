"""`challenge train CONFIG --sweep KEY=A,B`: one run for every combination, and a table."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from challenge.cli.shared.machines import Machines
from challenge.cli.shared.training import Where, exit_code, train_and_show, values

if TYPE_CHECKING:
    from challenge.submissions.judging.slurm import Jobs
    from challenge.submissions.runs.apart import Job
    from challenge.submissions.runs.sweep import Planned

_COMMAND = (
    "from challenge.submissions.runs.processes import die_with_parent as d; d(); "
    "from challenge.cli.main import main; main()"
)
"""What a worker of a scheduler runs with Python: this program, which ends with the worker."""


def run_all(
    config: str,
    overrides: Sequence[str],
    sweep: Sequence[str],
    where: Where,
    machines: Machines,
) -> None:
    """Train every combination, then show them in one table.

    One after the other, or on the workers of a Dask scheduler, if `machines` has one.

    With `--resume`, runs that are finished are taken as they are, one that was stopped goes on.
    A run that fails, by a learning rate that is too high, say, is a line of the table.

    Raises:
        UserError: a setting is wrong; found for all combinations before the first is trained.
    """
    from challenge.configs.errors import UserError
    from challenge.submissions.runs import torchrun
    from challenge.submissions.runs.sweep import held, plan

    if where.processes > 1:
        raise UserError.of("--sweep", "trains with one process", "leave `--processes` out")
    if torchrun.seat() is not None:
        remedy = "leave `torchrun` out, and give `--scheduler` for several machines"
        raise UserError.of("--sweep", "trains with one process", remedy)
    fresh = not (where.resume or where.force)
    planned = plan(config, overrides, sweep, where.workspace, fresh=fresh)
    with held(planned):
        if machines.scheduler is None:
            failures = _one_by_one(config, planned, where)
        else:
            failures = _apart(config, planned, where, machines)
    _show(planned, failures)
    if failures:
        raise typer.Exit(1)


def _one_by_one(config: str, planned: Sequence[Planned], where: Where) -> dict[str, str]:
    """Train in this process; why runs failed, by their names."""
    from dataclasses import replace

    from challenge.cli.shared.console import fail, say
    from challenge.configs.errors import UserError

    failures = {}
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
            say(_CONTINUE)
            raise typer.Exit(exit_code(done))
    return failures


_CONTINUE = "the whole sweep continues with the same command and --resume"


class _Wish:
    """The wish to stop, which a signal brings."""

    signal: int | None = None

    @property
    def stop_requested(self) -> bool:
        return self.signal is not None

    def request_stop(self, signal: int | None = None) -> None:
        self.signal = signal


def _apart(
    config: str, planned: Sequence[Planned], where: Where, machines: Machines
) -> dict[str, str]:
    """Train on the workers of a scheduler; why runs failed, by their names."""
    from challenge.cli.shared.console import alarm, progress, say
    from challenge.submissions.judging import connection
    from challenge.submissions.runs.apart import Workers
    from challenge.submissions.runs.signals import stop_on_signals

    labels: dict[Job, str] = {}
    for number, each in enumerate(planned, 1):
        label = f"{number}/{len(planned)} {each.point.name}"
        if where.resume and each.is_finished():
            say(f"{label}: is finished already")
        else:
            labels[_job(config, each, where)] = label
    if not labels:
        return {}
    at_a_time, wish = machines.at_a_time(len(labels), 1), _Wish()
    failures = {}

    def report(job: Job, line: Mapping[str, Any]) -> None:
        bar(f"train {Path(job.run).name}", line["step"], line["total"], values(line))

    def stopping(number: int) -> None:
        again = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
        say(f"stopping all after their steps{again}")

    jobs = _jobs(machines, where, [*labels])
    with connection.connect(machines.scheduler or "", machines.tls, at_a_time, jobs) as client:
        there = Workers(client, connection.identity(client)["workers"])
        say(f"workers    {there.count}")
        if page := connection.dashboard(client):
            say(f"dashboard  {page}")
        for each in planned if where.force else ():
            each.throw_away()
        with progress() as bar, stop_on_signals(wish, stopping):
            asked = lambda: wish.stop_requested  # noqa: E731
            for done in there.train_all([*labels], stopping=asked, progress=report):
                name = Path(done.job.run).name
                if done.fault:
                    alarm(f"error: {name}: {done.fault}")
                    failures[name] = done.fault
                elif done.finished:
                    say(f"{labels[done.job]}: is finished")
    if wish.signal is not None:
        say(_CONTINUE)
        raise typer.Exit(128 + wish.signal)
    return failures


def _jobs(machines: Machines, where: Where, planned: Sequence[Job]) -> Jobs | None:
    """What SLURM is asked for."""
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Workspace

    limits = open_challenge(Path(planned[0].public)).config.limits
    return machines.jobs(len(planned), Workspace(where.workspace), limits, train=True)


def _job(config: str, each: Planned, where: Where) -> Job:
    """What a worker is asked for: a command, whose folders are absolute."""
    from challenge.configs.loader import load_entry
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.runs import alike
    from challenge.submissions.runs.apart import Job

    entry, _ = load_entry(config, each.overrides)
    public = Workspace(where.workspace.absolute()).public(entry.challenge).path
    options = ("--workspace", str(where.workspace.absolute()), "--device", where.device)
    return Job(
        run=str(each.run.path.absolute()),
        command=("-c", _COMMAND, "train", config, *each.overrides, *options),
        folder=str(Path.cwd()),
        public=str(public),
        seen=alike.seen(open_challenge(public)),
    )


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
