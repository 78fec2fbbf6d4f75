"""`challenge score`: a run on val, or packed entries on the hidden test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.dry_run import watch
from challenge.cli.shared.format import clock, mean
from challenge.cli.shared.intake import look_at
from challenge.cli.shared.machines import Machines
from challenge.cli.shared.options import (
    WORKSPACE,
    IsolationOption,
    JsonOption,
    TlsOption,
    WorkspaceOption,
)
from challenge.cli.shared.workspace import find_workspace, open_prepared

if TYPE_CHECKING:
    from challenge.cli.shared.console import Report
    from challenge.configs.schema.challenge import Limits
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.judging.cluster import Cluster
    from challenge.submissions.judging.judge import Rejudge
    from challenge.submissions.judging.load import Load
    from challenge.submissions.judging.result import Result
    from challenge.submissions.judging.worker import Judged


def score(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="One run, or packed entries.", autocompletion=completion.runs_and_entries
        ),
    ],
    hidden: Annotated[
        Path | None, typer.Option(help="The hidden folder: judge entries on the test set.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Entries judged at a time, each on cores of its own; 1. With `slurm`: jobs, 4.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Judge on the workers of a Dask scheduler; `local`: on one of this machine's own, "
            "`slurm`: on jobs of SLURM.",
        ),
    ] = None,
    tls: TlsOption = None,
    repeat: Annotated[
        bool,
        typer.Option("--repeat", help="Then some images again, in another order, in a new process"),
    ] = False,
    rejudge: Annotated[
        bool,
        typer.Option("--rejudge", help="Judge even where a verdict stands; the history keeps it."),
    ] = False,
    rejudge_timeouts: Annotated[
        bool,
        typer.Option(
            "--rejudge-timeouts",
            help="Judge anew what failed by the clock while other programs kept the cores busy.",
        ),
    ] = False,
    level: IsolationOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Score a run on val, or entries on the hidden test set.

    PSNR and SSIM for each image, and their mean with a 95 % bootstrap-t interval.

    Entries run in a jail, which needs Linux; `challenge doctor` shows what this machine can
    enforce. Scoring that was interrupted goes on where it stopped. A baseline of the toolkit,
    `submissions/baselines/*.zip`, is packed for the challenge first.

    When an entry was received is written down at the first look, for good. How busy other programs
    keep the cores is looked at before and while an entry is judged.

    With `--scheduler`, other machines run the entries: docs/cluster.md. Truth, scores and verdicts
    stay here; the same command without it, or with other workers, gives the same board.

    Example: challenge score workspace/entries/*.zip --hidden workspace/hidden/deblur
    """
    from challenge.cli.shared import kinds
    from challenge.configs.errors import UserError

    if hidden is not None:
        kinds.expect([hidden], "hidden")
        kinds.expect(paths, "entry", also=kinds.ZIPS)
        again: Rejudge = "all" if rejudge else "timeouts" if rejudge_timeouts else "none"
        machines = Machines(scheduler, tls, workers)
        found = _judge(paths, hidden, workspace, as_json, machines, repeat, again, level)
        raise typer.Exit(found)
    kinds.expect(paths, "run", also=("entry",))
    if zips := [path for path in paths if path.is_file()]:
        remedy = "give `--hidden workspace/hidden/CHALLENGE`, or a run's folder for val"
        raise UserError.of(zips[0], "is a packed entry, and there is no `--hidden`", remedy)
    if len(paths) > 1:
        raise UserError.of(paths[1], "is a second run", "score one run at a time")
    _score_run(paths[0], workspace, as_json)


def _score_run(run: Path, workspace: Path, as_json: bool) -> None:
    from challenge.cli.shared.console import progress, say, show_json, table, warn
    from challenge.data.layout import Workspace
    from challenge.submissions import layout
    from challenge.submissions.judging.trial import hints
    from challenge.submissions.judging.trial import score as score_run
    from challenge.submissions.runs.facts import read_facts
    from challenge.submissions.scoring.calibration import in_words

    made = layout.Run(run)
    name = read_facts(made).challenge.name
    challenge = open_prepared(Workspace(find_workspace(workspace, run)).public(name))
    with progress() as report:
        scores = score_run(made, challenge, progress=report)
    for hint in hints(made.reconstructions("val"), challenge):
        warn(hint)
    if as_json:
        show_json(scores.to_json())
        return
    assert scores.psnr and scores.ssim
    heads = ["image", "PSNR (dB)", "SSIM"]
    rows = [[each.id, f"{each.psnr:.2f}", f"{each.ssim:.4f}"] for each in scores.images]
    rows.append(["mean", mean(scores.psnr, 2), mean(scores.ssim, 4)])
    if scores.nmse:
        heads.append("NMSE")
        known = [f"{each.nmse:.4f}" for each in scores.images]
        for row, text in zip(rows, [*known, mean(scores.nmse, 4)], strict=True):
            row.append(text)
    table(heads, rows, title=f"{run} on val", left=("image",))
    if scores.calibration:
        say(f"calibration  {in_words(scores.calibration)}")


def _judge(
    entries: list[Path],
    hidden: Path,
    workspace: Path,
    as_json: bool,
    machines: Machines,
    repeat: bool,
    rejudge: Rejudge,
    level: str | None,
) -> int:
    """Judge entries and show the verdicts; 1 where the judge or the machine failed, else 0."""
    from challenge.cli.shared.console import progress, say, say_block, show_json, warn
    from challenge.data.layout import Hidden, Workspace
    from challenge.submissions.entries import teams
    from challenge.submissions.entries.pack import repack_baseline
    from challenge.submissions.jail import levels
    from challenge.submissions.jail.probe import choose
    from challenge.submissions.judging import originals, parts
    from challenge.submissions.judging.judge import open_judge
    from challenge.submissions.judging.load import Meter
    from challenge.submissions.judging.pool import judge_all

    place = Workspace(find_workspace(workspace, hidden))
    challenge = open_prepared(place.public(hidden.resolve().name), verify=True)
    entries = _of_this_challenge(entries, challenge, place)
    limits, listed = challenge.config.limits, teams.load(place)
    look_at(entries, place, challenge, listed)
    workers = machines.at_a_time(len(entries), limits.threads)
    meter = Meter(limits.threads * workers)
    if workers:
        _look_at_machine(workers, limits)
    found, faults = [], 0
    with machines.cluster(place, challenge, workers, len(entries)) as cluster:
        chosen = cluster.level(level) if cluster else choose.choose(level, official=True)
        judge = open_judge(place, challenge, Hidden(hidden), listed, level=chosen, repeats=repeat)
        for line in originals.warnings(Hidden(hidden)):
            warn(line)
        say(f"isolation  {levels.SUMMARY[chosen]}")
        if chosen == "process":
            warn("an entry's code can read this machine's files; the results and the board say so")
        entries = [repack_baseline(entry, place, challenge, listed) for entry in entries]
        if workers:
            rejudge = _look_at_load(meter.read(), rejudge)
        with progress() as report:
            steps = {
                entry: watch(
                    _with_host(report, cluster, entry), f"judge {entry.stem}", limits.minutes
                )
                for entry in entries
            }
            for judged in judge_all(
                judge,
                list(dict.fromkeys(entries)),
                workers=workers or 1,
                rejudge=rejudge,
                progress=lambda entry, step: steps[entry](step),
                cluster=cluster,
            ):
                if judged.result is None:
                    what = "not judged, a fault of the judge or of this machine"
                    say_block(f"{judged.entry}: {what}", judged.fault)
                    faults += 1
                else:
                    found.append(judged.result)
                    _say_what_stands(judged)
    share = challenge.config.rules.final_share
    found = parts.until_revealed(found, Hidden(hidden), share)
    if as_json:
        show_json([each.to_json() for each in found])
    else:
        _show(found)
        if share is not None and any(each.psnr for each in found):
            say("scores of the public part alone, until `challenge reveal`")
        if any(each.outcome == "ok" for each in found):
            say(f"pictures  {hidden / 'judged'}")
    return 1 if faults else 0


def _with_host(report: Report, cluster: Cluster | None, entry: Path) -> Report:
    """Progress that says on which machine an entry runs, where there are several."""
    if cluster is None:
        return report

    def told(what: str, done: int, total: int | None, details: str = "") -> None:
        report(what, done, total, "  ".join(filter(None, (cluster.host(entry), details))))

    return told


def _say_what_stands(judged: Judged) -> None:
    """Where an entry was not judged anew, that this can be had."""
    from challenge.cli.shared.console import say

    if judged.fresh or judged.result is None:
        return
    if judged.result.in_doubt:
        say(
            f"{judged.entry.stem}: the verdict stands, though it failed by the clock "
            "while other programs were busy; `--rejudge-timeouts` judges it once more"
        )
    else:
        say(f"{judged.entry.stem}: the verdict stands; `--rejudge` judges it once more")


def _of_this_challenge(entries: list[Path], challenge: Challenge, place: Workspace) -> list[Path]:
    """Without entries for other challenges of this workspace, which are judged with those.

    Raises:
        UserError: none is left: it is the wrong hidden folder.
    """
    from challenge.cli.shared.console import say
    from challenge.configs.errors import Mistake, UserError
    from challenge.submissions import layout
    from challenge.submissions.entries.check import read_manifest

    name = challenge.config.name
    packaged = {path.resolve() for path in layout.baselines().values()}
    others = []
    for entry in entries:
        facts = None if entry.resolve() in packaged else read_manifest(entry)
        other = facts.challenge.name if facts else name
        if other != name and place.public(other).manifest.is_file():
            own = place.hidden(other).path
            cause = f"is packed for `{other}`, the hidden folder is that of `{name}`"
            others.append((entry, Mistake(str(entry), cause, f"give `--hidden {own}`")))
    if len(others) == len(entries):
        raise UserError(*(each for _, each in others))
    for _, each in others:
        say(f"not judged: {each}")
    left = {entry for entry, _ in others}
    return [entry for entry in entries if entry not in left]


def _look_at_machine(workers: int, limits: Limits) -> None:
    """Say where entries will not have what the challenge allows them."""
    import psutil

    from challenge.cli.shared.console import warn
    from challenge.submissions import machine

    if machine.cores() < limits.threads:
        warn(f"{machine.cores()} cores, the challenge allows {limits.threads}: entries are slower")
    wanted, free = workers * limits.memory_gb, psutil.virtual_memory().available / 1e9
    if wanted > free:
        warn(
            f"entries may use {wanted:g} GB, {free:.1f} GB are free: one that is ended for want of "
            "memory may not be to blame"
        )


def _look_at_load(load: Load, rejudge: Rejudge) -> Rejudge:
    """Say where other programs are busy; what timed out is then not judged once more."""
    from challenge.cli.shared.console import warn

    if not load.busy:
        return rejudge
    warn(
        f"other programs take {load.foreign:.0%} of the cores that entries are judged on: an entry "
        "that times out is marked, and `--rejudge-timeouts` judges it again when it is quiet"
    )
    if rejudge == "timeouts":
        warn("so nothing that timed out is judged again now; give the same command later")
        return "none"
    return rejudge


def _show(results: list[Result]) -> None:
    from challenge.cli.shared.console import say, say_output, table
    from challenge.submissions.scoring.calibration import in_words

    floats = any(result.nmse for result in results)
    rows = [
        (
            result.entry.team or "?",
            result.entry.name,
            result.outcome,
            mean(result.psnr, 2) if result.psnr else "",
            mean(result.ssim, 4) if result.ssim else "",
            *([f"{result.nmse.mean:.4f}" if result.nmse else ""] if floats else []),
            clock(result.seconds.total) if result.seconds else "",
        )
        for result in results
    ]
    table(
        ("team", "entry", "outcome", "PSNR (dB)", "SSIM", *(["NMSE"] if floats else []), "time"),
        rows,
        left=("team", "entry", "outcome"),
    )
    for result in results:
        if result.calibration:
            say(f"{result.entry.file}: calibration: {in_words(result.calibration)}")
    slowed = [each for each in results if each.outcome == "ok" and each.load and each.load.busy]
    if slowed:
        most = max(each.load.foreign for each in slowed if each.load)
        say(
            f"{len(slowed)} of {len(results)} judged while other programs took up to {most:.0%} of "
            "their cores: their times are longer than on a quiet machine"
        )
    for result in results:
        if result.outcome != "ok":
            say(f"{result.entry.file}: {result.outcome}: {result.cause}")
            if result.in_doubt and result.load is not None:
                say(
                    f"in doubt: other programs took {result.load.foreign:.0%} of its cores "
                    "meanwhile; `--rejudge-timeouts` judges it again when it is quiet"
                )
            say_output(result.log)
