"""The same val images through several methods: their scores, and what they cost."""

from __future__ import annotations

import statistics
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from challenge.configs.errors import Mistake, UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.challenges.challenge import read_manifest as read_public
from challenge.data.layout import Public
from challenge.submissions.entries import archive
from challenge.submissions.entries import weights as weight_files
from challenge.submissions.entries.check import check, read_manifest
from challenge.submissions.entries.pack import repack_baseline
from challenge.submissions.entries.violations import refusal
from challenge.submissions.inference import forecast
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail.levels import Level
from challenge.submissions.judging import trial
from challenge.submissions.layout import WEIGHTS, Run, baselines
from challenge.submissions.runs import storage
from challenge.submissions.runs.facts import read_facts
from challenge.submissions.scoring.scores import Interval, Scores
from challenge.submissions.scoring.statistics import paired
from challenge.submissions.text import one_line

OnStep = Callable[[str, Step], None]
"""Called with a method's name after each reconstruction."""
OnScore = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A run's folder, or an entry's zip, that is to be compared."""

    name: str
    """The run's or the zip's; equal names are numbered: `tv`, `tv (2)`."""
    path: Path
    challenge: str
    """The name of the challenge that it was made for."""


@dataclass(frozen=True)
class Compared:
    """What one method did on val."""

    candidate: Candidate
    folder: Path
    """Has the reconstructions, `<id>.npy`."""
    reused: bool
    """Whether the reconstructions were those of an earlier `challenge infer`."""
    scores: Scores
    seconds: float
    """Of an image, the mean, on the judge's clock, when the reconstructions were made."""
    megabytes: float
    """Of the weights, in units of 1,000,000 bytes."""
    parameters: int
    """Numbers that the weights hold, tuned settings and running means among them."""
    difference: Interval
    """Of PSNR to the first method, in dB; exactly 0 for that one itself."""


DEFAULT = "deblur"
"""The challenge on which baselines are compared where nothing names another."""


@dataclass(frozen=True)
class Failure:
    """A method that has no scores: it was refused, or came to no reconstructions."""

    candidate: Candidate
    outcome: str
    """The judge's word, such as `timeout`; `refused` where it was not even tried."""
    cause: str
    log: str = ""
    """The last of what it printed."""
    mistakes: tuple[Mistake, ...] = ()
    """Of one that was refused, with the remedies."""


@dataclass(frozen=True)
class Comparison:
    """What came of all candidates; each is in one of the two."""

    compared: tuple[Compared, ...]
    failed: tuple[Failure, ...]


def candidates(paths: Sequence[Path], challenge: str | None = None) -> list[Candidate]:
    """Look at what is to be compared, without running any of it.

    Args:
        paths: runs, entries, and names of packaged baselines.
        challenge: its name; that of the runs and entries by default, `deblur` where there are
            baselines alone, which are packed for any.

    Raises:
        UserError: a path is neither a run nor an entry, or they are not of one challenge.
    """
    known = baselines()
    paths = [path if path.exists() else known.get(str(path), path) for path in paths]
    names = ", ".join(f"`{name}`" for name in known)
    remedy = f"give a run's folder, a zip made by `challenge pack`, or a baseline: {names}"
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise UserError(*(Mistake(str(path), "does not exist", remedy) for path in absent))
    packaged = {path.resolve() for path in known.values()}
    own = [path for path in paths if path.resolve() not in packaged]
    first = challenge or (_challenge_of(own[0]) if own else DEFAULT)
    found: list[Candidate] = []
    taken: dict[str, int] = {}
    for path in paths:
        name = one_line(path.resolve().name if path.is_dir() else path.stem)
        taken[name] = taken.get(name, 0) + 1
        shown = name if taken[name] == 1 else f"{name} ({taken[name]})"
        found.append(Candidate(shown, path, first))
        if path in own and (other := _challenge_of(path)) != first:
            rest = f"{own[0]} is for `{first}`" if challenge is None else f"not for `{first}`"
            cause = f"is for `{other}`, {rest}"
            raise UserError.of(path, cause, "compare runs and entries of one challenge")
    return found


def _challenge_of(path: Path) -> str:
    if path.is_dir():
        return read_facts(Run(path)).challenge.name
    manifest = read_manifest(path)
    if manifest is None:
        problems = check(path)
        raise refusal(problems[:1])
    return manifest.challenge.name


def check_candidates(
    found: Sequence[Candidate], challenge: Challenge
) -> tuple[list[Candidate], list[Failure]]:
    """Check all that will be compared, before work begins; a packaged baseline becomes an entry.

    Returns:
        What can be compared, and what cannot: an entry that `check` refuses, a run that is not
        finished or of another preparation of the challenge.

    Raises:
        UserError: nothing can be compared; with every mistake.
    """
    checked, refused = list[Candidate](), list[Failure]()
    for each in found:
        try:
            checked.append(_checked(each, challenge))
        except UserError as error:
            refused.append(_refused(each, error))
    if not checked:
        raise UserError(*(mistake for each in refused for mistake in each.mistakes))
    return checked, refused


def _refused(each: Candidate, error: UserError) -> Failure:
    mistakes = tuple(error.mistakes)
    return Failure(each, "refused", mistakes[0].cause, mistakes=mistakes)


def _checked(each: Candidate, challenge: Challenge) -> Candidate:
    if each.path.is_dir():
        storage.finished(Run(each.path), challenge)
        return each
    packaged = {path.resolve() for path in baselines().values()}
    rules = _permissive(challenge) if each.path.resolve() in packaged else challenge
    entry = repack_baseline(each.path, challenge.workspace, rules, None)
    if problems := check(entry, rules):
        raise refusal(problems)
    return replace(each, path=entry)


def _permissive(challenge: Challenge) -> Challenge:
    """The challenge with rules that a baseline holds to: it is looked at, not handed in."""
    allowed = {"pretrained": "allowed", "external_data": "allowed"}
    rules = challenge.config.rules.model_copy(update=allowed)
    config = challenge.config.model_copy(update={"rules": rules})
    return Challenge(challenge.path, config, read_public(Public(challenge.path)))


def compare(
    found: Sequence[Candidate],
    challenge: Challenge,
    scratch: Path,
    *,
    level: Level | None = None,
    progress: OnStep | None = None,
    scored: OnScore | None = None,
) -> Comparison:
    """Reconstruct val with every method, where that is still to be done, and score it.

    One that fails is told beside the others, which go on.

    A run keeps its reconstructions, as after `challenge infer`; those of an entry go to
    `scratch`. Code runs in the jail in which the judge runs it.

    Args:
        found: checked; the first one that has scores is what the others are compared with.
        scratch: an empty folder, which must live as long as pictures are drawn.
        level: of isolation; the strongest that holds here by default.
        progress: called after each reconstruction with the method's name.
        scored: called after each scored image with ("score NAME", done, total).
    """
    done, failed = list[Compared](), list[Failure]()
    known: dict[Path, tuple[Path, float, bool] | Inference] = {}
    for number, each in enumerate(found):
        where = each.path.resolve()
        if where not in known:
            step = None if progress is None else _for_method(progress, each.name)
            try:
                known[where] = _reconstruct(each, challenge, scratch / str(number), level, step)
            except UserError as error:  # such as: somebody else works on the run
                failed.append(_refused(each, error))
                continue
        made = known[where]
        if isinstance(made, Inference):
            failed.append(Failure(each, made.outcome, made.cause, made.log))
            continue
        folder, seconds, reused = made
        report = None if scored is None else _with_name(scored, each.name)
        scores = trial.score_val(folder, challenge, progress=report)
        try:
            trial.check_scores(scores, folder, each.path)
            size, parameters = size_of_weights(each.path)
        except UserError as error:
            failed.append(_refused(each, error))
            continue
        first = done[0].scores if done else scores
        difference = paired(scores.psnr_by_image(), first.psnr_by_image())
        done.append(
            Compared(
                candidate=each,
                folder=folder,
                reused=reused,
                scores=scores,
                seconds=seconds,
                megabytes=size / 1e6,
                parameters=parameters,
                difference=difference,
            )
        )
    return Comparison(tuple(done), tuple(failed))


def _for_method(progress: OnStep, name: str) -> Callable[[Step], None]:
    return lambda step: progress(name, step)


def _with_name(scored: OnScore, name: str) -> OnScore:
    return lambda _, done, total: scored(f"score {name}", done, total)


def _reconstruct(
    each: Candidate,
    challenge: Challenge,
    scratch: Path,
    level: Level | None,
    step: Callable[[Step], None] | None,
) -> tuple[Path, float, bool] | Inference:
    """The folder of the reconstructions, seconds of an image, whether they were there before.

    Where nothing came of it, what went wrong.
    """
    if each.path.is_dir():
        run = Run(each.path)
        folder = run.reconstructions("val")
        earlier = forecast.measured(run)
        names = [folder / f"{identity}.npy" for identity in challenge.ids("val")]
        if earlier is not None and all(path.is_file() for path in names):
            return folder, statistics.fmean(earlier[1]), True
        inference = trial.infer(run, challenge, level=level, progress=step)
    else:
        folder = scratch / "reconstructions"
        entry = scratch / "entry"
        entry.mkdir(parents=True)
        archive.extract(each.path, entry)
        jail = trial.jail_of(challenge, level)
        inference = trial.infer_folder(entry, folder, challenge, jail, progress=step)
    if inference.outcome != "ok":
        return inference
    return folder, statistics.fmean(inference.seconds.values()), False


def size_of_weights(path: Path) -> tuple[int, int]:
    """Bytes of the weights of a run or entry, without their header, and how many numbers."""
    if path.is_dir():
        weights = Run(path).weights
        with weights.open("rb") as file:
            try:
                tensors, _ = weight_files.read_header(file, weights.stat().st_size)
            except weight_files.NotSafetensors as error:
                raise UserError.of(weights, str(error), "train the run again") from None
    else:
        with zipfile.ZipFile(path) as packed, packed.open(WEIGHTS) as member:
            tensors, _ = weight_files.read_header(member, packed.getinfo(WEIGHTS).file_size)
    sizes = [each.end - each.begin for each in tensors]
    widths = [weight_files.ITEMSIZE[each.dtype] for each in tensors]
    return sum(sizes), sum(size // width for size, width in zip(sizes, widths, strict=True))
