"""The methods of a report: everything that can be known of each, and why the rest is not known.

A run's code is its owner's, as in `challenge train`. An entry may be a stranger's: where it brings
code of its own, that runs in the judge's jail alone, and what of the report would need it is left
out. Without such code an entry is a config and weights, which the toolkit's own methods open, in
this process and without limits: only after it has reconstructed val in that jail.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.entries import load
from challenge.submissions.entries.check import read_manifest
from challenge.submissions.entries.manifest import Manifest
from challenge.submissions.inference.loading import load_folder
from challenge.submissions.jail.levels import Level
from challenge.submissions.layout import CONFIG, PLUGIN, WEIGHTS, Run
from challenge.submissions.reports import candidates, comparison
from challenge.submissions.reports.candidates import Candidate, Failure, refused
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.runs import curves
from challenge.submissions.runs.curves import Curves
from challenge.submissions.runs.facts import RunFacts, read_config, read_facts

if TYPE_CHECKING:
    from challenge.methods.contract import Method

NOT_OPENED = (
    "The entry brings code of its own, which runs in the judge's jail only: this is left out. A "
    "report of its run has it."
)

NOT_TRIED = (
    "An entry is opened here only after it has reconstructed val in the judge's jail, within the "
    "challenge's limits: this is left out."
)
NO_WEIGHTS = "The run is not finished and has no weights yet."


@dataclass(frozen=True)
class Origin:
    """How the weights came about, as a run or a manifest says; None: unknown."""

    source: str | None = None
    """Of the training images: `builtin` or `folder`."""
    images: int | None = None
    seconds: float | None = None
    peak_memory: int | None = None
    """Bytes."""
    machine: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    """By the knob, in words."""
    costs: dict[str, int | None] = field(default_factory=dict)
    """Of a network: `macs_per_pixel`, `receptive_field`."""
    rounded: str | None = None
    """Type that the weights were rounded to."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of files, by their names."""


@dataclass(frozen=True)
class Subject:
    """A method of a report."""

    candidate: Candidate
    config: EntryConfig | None = None
    origin: Origin = Origin()
    method: Method | None = None
    """With its weights; None where it was not opened."""
    unopened: str = ""
    """Why it was not, in a sentence."""
    compared: Compared | None = None
    failure: Failure | None = None
    """Why there are no scores."""
    run: Run | None = None
    curves: Curves | None = None
    """That an entry carries; a run has its log."""

    @property
    def name(self) -> str:
        return self.candidate.name


def gather(
    found: Sequence[Candidate],
    challenge: Challenge,
    scratch: Path,
    *,
    infer: bool = True,
    level: Level | None = None,
    progress: comparison.OnStep | None = None,
    scored: comparison.OnScore | None = None,
) -> list[Subject]:
    """What is known of the methods, in the order given.

    Args:
        found: as `candidates.look_at` found them.
        scratch: an empty folder, which must live as long as the reconstructions are looked at.
        infer: reconstruct val where that is still to be done; else only what is there is told.
        level: of isolation; the strongest that holds here by default.
        progress, scored: as for `comparison.compare`.

    Raises:
        UserError: nothing can be said of any of them.
    """
    ready, failed = list[Candidate](), dict[str, Failure]()
    for each in found:
        try:
            checked, _ = candidates.check_candidates([each], challenge)
            ready += checked
        except UserError as error:
            failed[each.name] = refused(each, error)
    tried = ready if infer else [each for each in ready if comparison.stored(each, challenge)]
    compared: dict[str, Compared] = {}
    if tried:
        done = comparison.compare(
            tried, challenge, scratch, level=level, progress=progress, scored=scored
        )
        compared = {each.candidate.name: each for each in done.compared}
        failed |= {each.candidate.name: each for each in done.failed}
    current = {each.name: each for each in ready}
    subjects = []
    for each in found:
        subject = _described(current.get(each.name, each), challenge)
        subjects.append(
            replace(subject, compared=compared.get(each.name), failure=failed.get(each.name))
        )
    if all(each.config is None for each in subjects):
        raise UserError(*(mistake for each in failed.values() for mistake in each.mistakes))
    return subjects


def open_methods(subjects: Sequence[Subject], challenge: Challenge) -> list[Subject]:
    """The same subjects with their methods, where these open without a stranger's code.

    An entry may be made so that to build it takes all memory: one that has not gone through the
    jail stays closed.
    """
    opened = []
    for each in subjects:
        if each.run is not None and not each.run.weights.is_file():
            opened.append(replace(each, unopened=NO_WEIGHTS))
            continue
        try:
            if each.run is not None:
                method = load_folder(each.run.path)
            elif _brings_code(each.candidate.path):
                opened.append(replace(each, unopened=NOT_OPENED))
                continue
            elif each.compared is None:
                opened.append(replace(each, unopened=NOT_TRIED))
                continue
            else:
                with load.unpacked(each.candidate.path, challenge.config.limits) as folder:
                    method = load_folder(folder)
        except UserError as error:
            cause = error.mistakes[0].cause
            opened.append(replace(each, unopened=f"It cannot be opened here: {cause}."))
            continue
        opened.append(replace(each, method=method))
    return opened


def _brings_code(entry: Path) -> bool:
    with zipfile.ZipFile(entry) as packed:
        return any(name.startswith(f"{PLUGIN}/") for name in packed.namelist())


def _described(each: Candidate, challenge: Challenge) -> Subject:
    if each.path.is_dir():
        run = Run(each.path)
        try:
            return Subject(each, read_config(run), _of_run(run, read_facts(run)), run=run)
        except UserError:
            return Subject(each, run=run)
    try:
        manifest = read_manifest(each.path)
        if manifest is None:
            return Subject(each)
        with load.unpacked(each.path, challenge.config.limits) as folder:
            run = Run(folder)
            origin = _of_entry(manifest)
            return Subject(each, read_config(run), origin, curves=curves.of(run))
    except UserError:
        return Subject(each)


def _of_run(run: Run, facts: RunFacts) -> Origin:
    from challenge.data.hashing import digest

    files = {CONFIG: run.config, WEIGHTS: run.weights}
    return Origin(
        source=facts.images.source if facts.images else None,
        images=facts.images.train if facts.images else None,
        seconds=facts.seconds,
        peak_memory=facts.peak_memory,
        machine=str(facts.machine) if facts.machine else None,
        versions=facts.versions,
        parts={knob: str(part) for knob, part in facts.parts.items()},
        costs={key: value for key, value in facts.method.items() if key != "parameters"},
        digests={name: digest(path) for name, path in files.items() if path.is_file()},
    )


def _of_entry(manifest: Manifest) -> Origin:
    training, rounded = manifest.training, manifest.rounded
    return Origin(
        source=training.source if training else None,
        images=training.images if training else None,
        seconds=training.seconds if training else None,
        peak_memory=training.peak_memory if training else None,
        machine=training.machine if training else None,
        versions=dict(manifest.versions),
        parts={
            knob: f"{part.method} of {part.source}, sha256 {part.sha256[:16]}"
            for knob, part in manifest.parts.items()
        },
        rounded=rounded.dtype if rounded else None,
        digests={name: member.sha256 for name, member in manifest.files.items()},
    )
