"""What is to be compared: runs, entries and baselines of one challenge, checked before any runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from challenge.configs.errors import Mistake, UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.challenges.challenge import read_manifest as read_public
from challenge.data.layout import Public
from challenge.methods import registry
from challenge.submissions.entries.check import check, read_manifest
from challenge.submissions.entries.pack import repack_baseline
from challenge.submissions.entries.violations import refusal
from challenge.submissions.layout import Run, baselines
from challenge.submissions.runs import storage
from challenge.submissions.runs.facts import read_facts
from challenge.submissions.text import one_line

DEFAULT = "deblur"
"""The challenge on which baselines are compared where nothing names another."""


@dataclass(frozen=True)
class Candidate:
    """A run's folder, or an entry's zip, that is to be compared."""

    name: str
    """The run's or the zip's; equal names are numbered: `tv`, `tv (2)`."""
    path: Path
    challenge: str
    """The name of the challenge that it was made for."""
    baseline: str = ""
    """Its name in the toolkit, of a packaged baseline."""


@dataclass(frozen=True)
class Failure:
    """A method that has no scores: it was refused, or came to no reconstructions."""

    candidate: Candidate
    outcome: str
    """The judge's word, such as `timeout`; `refused` where it could not be tried or scored."""
    cause: str
    log: str = ""
    """The last of what it printed."""
    mistakes: tuple[Mistake, ...] = ()
    """Of one that was refused, with the remedies."""


def refused(each: Candidate, error: UserError) -> Failure:
    """One that cannot be tried, or whose reconstructions cannot be scored."""
    mistakes = tuple(error.mistakes)
    return Failure(each, "refused", mistakes[0].cause, mistakes=mistakes)


def look_at(paths: Sequence[Path], challenge: str | None = None) -> list[Candidate]:
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
        raise UserError(
            *(Mistake(str(path), "does not exist", _how(path, remedy)) for path in absent)
        )
    packaged = {path.resolve(): name for name, path in known.items()}
    own = [path for path in paths if path.resolve() not in packaged]
    first = challenge or (_challenge_of(own[0]) if own else DEFAULT)
    found: list[Candidate] = []
    taken: dict[str, int] = {}
    for path in paths:
        name = one_line(path.resolve().name if path.is_dir() else path.stem)
        taken[name] = taken.get(name, 0) + 1
        shown = name if taken[name] == 1 else f"{name} ({taken[name]})"
        found.append(Candidate(shown, path, first, packaged.get(path.resolve(), "")))
        if path in own and (other := _challenge_of(path)) != first:
            rest = f"{own[0]} is for `{first}`" if challenge is None else f"not for `{first}`"
            cause = f"is for `{other}`, {rest}"
            raise UserError.of(path, cause, "compare runs and entries of one challenge")
    return found


def _how(path: Path, remedy: str) -> str:
    """A method is not its run: it is made by training, be there nothing to learn."""
    name = str(path)
    if name not in registry.names():
        return remedy
    made = f"make a run of it, `challenge train {name} challenge=NAME`, and give its folder"
    return f"`{name}` is a method: {made}"


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
    checked, failed = list[Candidate](), list[Failure]()
    for each in found:
        try:
            checked.append(_checked(each, challenge))
        except UserError as error:
            failed.append(refused(each, error))
    if not checked:
        raise UserError(*(mistake for each in failed for mistake in each.mistakes))
    return checked, failed


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
