"""From a run to an entry: one zip, checked before it exists, the same bytes for the same run."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.loader import dump
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Workspace
from challenge.methods import plugin
from challenge.submissions.entries import archive, manifest, weights
from challenge.submissions.entries.check import check, read_manifest
from challenge.submissions.entries.manifest import (
    ForChallenge,
    Manifest,
    Member,
    PartOrigin,
    Rounded,
    Training,
)
from challenge.submissions.entries.teams import BASELINE, Teams
from challenge.submissions.entries.violations import refusal
from challenge.submissions.layout import (
    CONFIG,
    CURVES,
    MANIFEST,
    PLUGIN,
    WEIGHTS,
    Run,
    baselines,
)
from challenge.submissions.layout import entry as layout_entry
from challenge.submissions.runs import curves, storage
from challenge.submissions.runs.facts import MadeFor, PartFacts, RunFacts, read_config, write_facts
from challenge.submissions.text import one_line


def target_of(place: Workspace, team: str, name: str, challenge: str) -> Path:
    """The zip of an entry: `TEAM-NAME.zip`, or `TEAM-NAME-CHALLENGE.zip` where that is another's.

    An older zip of the same team, name and challenge is to be replaced.

    Raises:
        UserError: at both places is something else.
    """
    first = layout_entry(place, team, name)
    tried = [first, first.with_name(f"{first.stem}-{challenge}.zip")]
    for path in tried:
        if not os.path.lexists(path):
            return path
        facts = read_manifest(path) if path.is_file() else None
        if facts and (facts.team, facts.name, facts.challenge.name) == (team, name, challenge):
            return path
    cause = f"is not {team}'s entry `{name}` for `{challenge}`, and neither is {tried[1].name}"
    raise UserError.of(first, cause, "move one of them away")


def pack(
    run: Run,
    team: str,
    target: Path,
    challenge: Challenge,
    teams: Teams | None,
    *,
    training: Training | None = None,
    rounded: Rounded | None = None,
) -> None:
    """Pack a finished run as an entry of `team`.

    Args:
        target: the zip to write; it replaces an older one.
        challenge: the run must belong to this very challenge.
        teams: the organiser's list, where there is one.
        training: how the weights came about; what the run says by default.
        rounded: what rounding the weights changed, where the run's are rounded ones.

    Raises:
        UserError: with every problem the entry would have; nothing is written then.
    """
    record = storage.finished(run, challenge)
    config = read_config(run)
    contents = entry_files(run)
    members = {name: _member(name, source) for name, source in contents.items()}
    try:
        facts = Manifest(
            format=1,
            team=team,
            name=config.name,
            challenge=ForChallenge(name=record.challenge.name, hash=record.challenge.hash),
            versions=record.versions,
            uses=config.uses,
            training=training or _training(record, config.seed),
            parts={
                knob: PartOrigin(**origin.model_dump()) for knob, origin in record.parts.items()
            },
            rounded=rounded,
            files=members,
        )
    except ValueError:
        remedy = "use lower-case letters, digits, `_` and `-`, at most 63"
        raise UserError.of("--team", f"`{team}` cannot be the name of a team", remedy) from None

    def write(path: Path) -> None:
        archive.write(
            path,
            {MANIFEST: [manifest.dump(facts)]}
            | {name: _content(name, source) for name, source in contents.items()},
        )
        problems = check(path, challenge, teams, shown=target.name)
        if problems:
            raise refusal(problems)

    atomic.write_with(target, write)


def repack(entry: Path, team: str, target: Path, challenge: Challenge, teams: Teams | None) -> None:
    """Pack an entry anew for another preparation of a challenge, such as a baseline.

    Config, weights and code stay; see `as_run` for what the new entry declares.

    Args:
        entry: a packed entry, of any challenge.
        target: the zip to write; it replaces an older one.
        challenge: the one that the new entry is for.

    Raises:
        UserError: with every problem of the old or of the new entry.
    """
    with as_run(entry, challenge) as (run, facts):
        pack(run, team, target, challenge, teams, training=facts.training, rounded=facts.rounded)


@contextmanager
def as_run(entry: Path, challenge: Challenge) -> Iterator[tuple[Run, Manifest]]:
    """The run that an entry would be packed from for a challenge, in a folder that goes at the end.

    It declares `uses.pretrained` and, for another preparation, `uses.external_data`, on which the
    challenge's rules decide.

    Args:
        entry: a packed entry, of any challenge.
        challenge: the one that it is to be packed for.

    Returns:
        The run, and the entry's manifest.

    Raises:
        UserError: with every problem of the entry.
    """
    problems = check(entry)
    facts = read_manifest(entry)
    if problems or facts is None:
        raise refusal(problems)
    with tempfile.TemporaryDirectory(prefix="challenge-entry-") as folder:
        archive.extract(entry, Path(folder))
        run = Run(Path(folder))
        config = read_config(run)
        # What it was trained on belongs to another preparation, unless it is this very one.
        external = config.uses.external_data or facts.challenge.hash != challenge.hash
        uses = config.uses.model_copy(update={"pretrained": True, "external_data": external})
        changes = {"uses": uses, "challenge": challenge.config.name}
        atomic.write_text(run.config, dump(config.model_copy(update=changes)))
        record = RunFacts(
            state="finished",
            challenge=MadeFor(name=challenge.config.name, hash=challenge.hash),
            versions=facts.versions,
            seconds=0.0,
            parts={knob: PartFacts(**origin.model_dump()) for knob, origin in facts.parts.items()},
        )
        write_facts(run, record)
        yield run, facts


def repack_baseline(
    entry: Path, place: Workspace, challenge: Challenge, teams: Teams | None
) -> Path:
    """A packaged baseline, packed for this preparation of the challenge; any other entry as it is.

    Baselines are of no team's challenge: their zips name the one they were trained on.

    Returns:
        The entry to judge: `entries/baseline-NAME.zip` of the workspace, as `target_of` names it,
        the same bytes every time, or `entry` itself.

    Raises:
        UserError: with every problem the entry would have.
    """
    packaged = {path.resolve(): name for name, path in baselines().items()}
    name = packaged.get(entry.resolve())
    if name is None:
        return entry
    target = target_of(place, BASELINE, name, challenge.config.name)
    repack(entry, BASELINE, target, challenge, teams)
    return target


def _training(record: RunFacts, seed: int) -> Training | None:
    """What a run says of its training; None where it is an entry that is packed anew."""
    if record.images is None or record.machine is None:
        return None
    return Training(
        source=record.images.source,
        images=record.images.train,
        seed=seed,
        seconds=round(record.seconds, 1),
        peak_memory=record.peak_memory,
        machine=one_line(record.machine, 200),
    )


def entry_files(run: Run) -> dict[str, Path]:
    """The files of an entry by their names in it, and where they are in the run."""
    found = {CONFIG: run.config, WEIGHTS: run.weights}
    if curves.of(run) is not None:
        found[CURVES] = run.log if run.log.is_file() else run.packed_curves
    for relative in plugin.files(run.plugin):
        found[f"{PLUGIN}/{relative.as_posix()}"] = run.plugin / relative
    return found


def copy_entry_files(run: Run, folder: Path) -> None:
    """Copy a run as the entry it would become, so that a dry run sees what the judge sees."""
    for name, source in entry_files(run).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for piece in _content(name, source):
                file.write(piece)


def _content(name: str, source: Path) -> Iterator[bytes]:
    """The bytes of a file in the entry; weights in their one canonical order, the log thinned."""
    if name == CURVES:
        if (found := curves.of(Run(source.parent))) is not None:
            yield curves.dump(found)
        return
    with source.open("rb") as file:
        if name != WEIGHTS:
            yield from archive.pieces(file)
            return
        try:
            yield from weights.canonical(file, source.stat().st_size)
        except weights.NotSafetensors as error:
            raise UserError.of(source, str(error), "train the run again") from error


def _member(name: str, source: Path) -> Member:
    digest, size = hashlib.sha256(), 0
    for piece in _content(name, source):
        digest.update(piece)
        size += len(piece)
    return Member(sha256=digest.hexdigest(), size=size)
