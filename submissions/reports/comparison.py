"""The same val images through several methods: their scores, and what they cost."""

from __future__ import annotations

import statistics
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.entries import archive
from challenge.submissions.entries import weights as weight_files
from challenge.submissions.inference import forecast
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.jail.levels import Level
from challenge.submissions.judging import trial
from challenge.submissions.layout import WEIGHTS, Run
from challenge.submissions.reports.candidates import Candidate, Failure, refused
from challenge.submissions.scoring.scores import Interval, Scores
from challenge.submissions.scoring.statistics import paired

OnStep = Callable[[str, Step], None]
"""Called with a method's name after each reconstruction."""
OnScore = Callable[[str, int, int], None]


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
    start_up: float = 0.0
    """Seconds from spawn to the method being ready, on the same clock."""


@dataclass(frozen=True)
class Comparison:
    """What came of all candidates; each is in one of the two."""

    compared: tuple[Compared, ...]
    failed: tuple[Failure, ...]


@dataclass(frozen=True)
class _Made:
    """Reconstructions, and what was measured when they were made."""

    folder: Path
    seconds: float
    start_up: float
    reused: bool


def stored(each: Candidate, challenge: Challenge) -> bool:
    """Whether the reconstructions of val are there, so that nothing is to be computed."""
    return each.path.is_dir() and _stored(Run(each.path), challenge) is not None


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
    known: dict[Path, _Made | Inference] = {}
    for number, each in enumerate(found):
        where = each.path.resolve()
        if where not in known:
            step = None if progress is None else _for_method(progress, each.name)
            try:
                known[where] = _reconstruct(each, challenge, scratch / str(number), level, step)
            except UserError as error:  # such as: somebody else works on the run
                failed.append(refused(each, error))
                continue
        made = known[where]
        if isinstance(made, Inference):
            failed.append(Failure(each, made.outcome, made.cause, made.log))
            continue
        report = None if scored is None else _with_name(scored, each.name)
        scores = trial.score_val(made.folder, challenge, progress=report)
        try:
            trial.check_scores(scores, made.folder, each.path)
            size, parameters = size_of_weights(each.path)
        except UserError as error:
            failed.append(refused(each, error))
            continue
        first = done[0].scores if done else scores
        difference = paired(scores.psnr_by_image(), first.psnr_by_image())
        done.append(
            Compared(
                candidate=each,
                folder=made.folder,
                reused=made.reused,
                scores=scores,
                seconds=made.seconds,
                megabytes=size / 1e6,
                parameters=parameters,
                difference=difference,
                start_up=made.start_up,
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
) -> _Made | Inference:
    """The reconstructions; where nothing came of them, what went wrong."""
    if each.path.is_dir():
        run = Run(each.path)
        if earlier := _stored(run, challenge):
            return earlier
        folder = run.reconstructions("val")
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
    seconds = statistics.fmean(inference.seconds.values())
    return _Made(folder, seconds, inference.start_up, False)


def _stored(run: Run, challenge: Challenge) -> _Made | None:
    folder = run.reconstructions("val")
    earlier = forecast.measured(run)
    names = [folder / f"{identity}.npy" for identity in challenge.ids("val")]
    if earlier is None or not all(path.is_file() for path in names):
        return None
    start_up, seconds = earlier
    return _Made(folder, statistics.fmean(seconds), start_up, True)


def size_of_weights(path: Path) -> tuple[int, int]:
    """Bytes of the weights of a run or entry, without their header, and how many numbers."""
    tensors = tensors_of(path)
    return sum(each.end - each.begin for each in tensors), sum(map(numbers_in, tensors))


def numbers_in(tensor: weight_files.Stored) -> int:
    """How many numbers a stored tensor holds."""
    return (tensor.end - tensor.begin) // weight_files.ITEMSIZE[tensor.dtype]


def tensors_of(path: Path) -> list[weight_files.Stored]:
    """The tensors of the weights of a run or entry; nothing but their header is read."""
    if path.is_dir():
        weights = Run(path).weights
        try:
            with weights.open("rb") as file:
                return weight_files.read_header(file, weights.stat().st_size)[0]
        except FileNotFoundError:
            raise UserError.of(weights, "does not exist", "train the run to its end") from None
        except weight_files.NotSafetensors as error:
            raise UserError.of(weights, str(error), "train the run again") from None
    with zipfile.ZipFile(path) as packed, packed.open(WEIGHTS) as member:
        return weight_files.read_header(member, packed.getinfo(WEIGHTS).file_size)[0]
