"""The static check of an entry: every problem at once, with its remedy.

Nothing of the entry is imported or unpacked, and torch is not needed. `challenge pack` runs it
before it writes, the judge before it unpacks.
"""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator
from pathlib import Path

from challenge.configs.schema.challenge import Limits, Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge
from challenge.methods import from_source, registry
from challenge.submissions.entries import (
    archive,
    contents,
    half_precision,
    python_files,
    weights,
)
from challenge.submissions.entries.archive import Members
from challenge.submissions.entries.manifest import Manifest
from challenge.submissions.entries.teams import Teams
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.layout import CONFIG, MANIFEST, WEIGHTS

DAMAGE = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What Python's zipfile raises when a member is not what the directory says."""


def check(
    path: Path,
    challenge: Challenge | None = None,
    teams: Teams | None = None,
    *,
    shown: str | None = None,
    limits: Limits | None = None,
) -> list[Violation]:
    """Every problem of a packed entry; empty when it may be judged.

    Args:
        path: the zip.
        challenge: whose limits and rules hold, and for which the entry must be packed; without
            it only the entry itself is checked, against the default limits.
        teams: the organiser's list; None accepts any team.
        shown: the zip's name in the problems, its file name by default.
        limits: in place of those of `challenge`.
    """
    shown = shown or path.name
    limits = limits or (challenge.config.limits if challenge else Limits())
    listing = archive.members(path, shown)
    members, problems = listing.members, listing.problems
    if problems and not members:
        return problems
    for name in sorted({MANIFEST, CONFIG, WEIGHTS} - {*members} - listing.refused):
        problems.append(Violation("invalid_entry", f"{shown}/{name}", "is missing", PACK_AGAIN))
    oversize = list(_size(path, members, limits, shown, sound=listing.sound))
    problems += oversize
    if not listing.sound:
        # What stands in the files follows from what is wrong with the zip.
        return problems
    rules = challenge.config.rules if challenge else None
    with zipfile.ZipFile(path) as file:
        try:
            facts = contents.read_manifest(file, members, shown, problems)
            # A file that is not the packed one is told of once, not for what stands in it too.
            spoilt = set(listing.refused)
            if not oversize:
                found = contents.differences(file, members, facts, listing.refused, shown)
                spoilt |= found.keys()
                problems += (problem for each in found.values() for problem in each)
            intact = {name: info for name, info in members.items() if name not in spoilt}
            config = contents.read_config(file, intact, shown, problems)
            contents.read_curves(file, intact, shown, problems)
            if facts:
                problems += _identity(facts, config, challenge, teams, shown)
            classes = python_files.classes(file, intact, spoilt, config, rules, shown, problems)
            if config:
                problems += python_files.unknown_method(config, classes, rules, shown)
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                # The disk's fault, or the machine's: it says nothing about the entry.
                raise
            cause = f"is damaged ({error or type(error).__name__})"
            problems.append(Violation("invalid_entry", shown, cause, "copy it again"))
    return problems


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of an entry, None where there is none that can be read."""
    members = archive.members(path, path.name).members
    if MANIFEST not in members:
        return None
    try:
        with zipfile.ZipFile(path) as file:
            return contents.read_manifest(file, members, path.name, [])
    except DAMAGE:
        return None


def _size(
    path: Path, members: Members, limits: Limits, shown: str, *, sound: bool
) -> Iterator[Violation]:
    """The bytes of all files together against the limit."""
    total = sum(info.file_size for info in members.values())
    allowed = round(limits.weights_mb * 1_000_000)
    if total > allowed:
        largest = sorted(members.values(), key=lambda info: (-info.file_size, info.filename))[:3]
        listed = ", ".join(f"{info.filename} {info.file_size:,}" for info in largest)
        yield Violation(
            "oversize",
            shown,
            f"holds {total:,} bytes, {allowed:,} are allowed; the largest: {listed}",
            _smaller(total - _half(path, members) if sound else total, total, allowed),
        )


def _smaller(rounded: int, total: int, allowed: int) -> str:
    """What to do about so many bytes, of which `rounded` are left in half precision."""
    if rounded + half_precision.STATED <= allowed:
        return f"pack it with `--dtype float16`, which leaves about {rounded:,} bytes"
    if rounded < total:
        return f"train a smaller network: even `--dtype float16` leaves {rounded:,} bytes"
    return "train a smaller network"


def _half(path: Path, members: Members) -> int:
    """Bytes that half precision saves, by the header of the weights."""
    if WEIGHTS not in members:
        return 0
    try:
        with zipfile.ZipFile(path) as file, file.open(members[WEIGHTS]) as member:
            tensors, _ = weights.read_header(member, members[WEIGHTS].file_size)
    except DAMAGE:
        return 0
    return half_precision.saving(tensors)


def _identity(
    facts: Manifest,
    config: EntryConfig | None,
    challenge: Challenge | None,
    teams: Teams | None,
    shown: str,
) -> Iterator[Violation]:
    """Team, challenge and declared rules."""
    place = f"{shown}/{MANIFEST}"
    unknown = teams.unknown(facts.team) if teams else None
    if unknown:
        yield Violation("invalid_entry", place, *unknown)
    if config and (facts.name, facts.uses) != (config.name, config.uses):
        yield Violation("invalid_entry", place, f"does not agree with `{CONFIG}`", PACK_AGAIN)
    if challenge is None:
        return
    if facts.challenge.name != challenge.config.name:
        cause = f"is packed for `{facts.challenge.name}`, this is `{challenge.config.name}`"
        yield Violation("invalid_entry", place, cause, "train and pack it for this challenge")
        return  # its operator and rules are the other's
    if facts.challenge.hash != challenge.hash:
        cause = f"is packed for another preparation of `{facts.challenge.name}`"
        remedy = "get the current public folder, then train and pack again"
        yield Violation("invalid_entry", place, cause, remedy)
    if config:
        yield from _operators(config, challenge, f"{shown}/{CONFIG}")
        yield from _channels(config, challenge, f"{shown}/{CONFIG}")
    yield from _rules(facts, challenge.config.rules, place)


def _operators(config: EntryConfig, challenge: Challenge, place: str) -> Iterator[Violation]:
    """A method of the table that does not take the challenge's operator; `--run` tries a team's."""
    name, kind = str(config.method.get("name")), challenge.config.operator.kind
    takes = from_source.operators(name) if _known(name) else None
    if takes is not None and kind not in takes:
        cause = f"`{name}` is for the operators {', '.join(takes)}; this one is {kind}"
        remedy = "`challenge methods` lists what each method takes"
        yield Violation("invalid_entry", place, cause, remedy)


def _channels(config: EntryConfig, challenge: Challenge, place: str) -> Iterator[Violation]:
    """A network of the table for colours in a grey challenge, or the other way round.

    It may be the method, or one that a knob of it is, which sees the images of the method's own
    channels.
    """
    seen = dict[str, int]()
    for key, section in registry.sections(config.method):
        name = str(section.get("name"))
        images = seen.get(key.rpartition(".")[0], challenge.channels)
        takes = from_source.channels(section) if _known(name) else None
        seen[key] = takes or images
        if takes and not from_source.fits(takes, images, from_source.takes_grey(name)):
            words = from_source.COLOURS
            cause = (
                f"`{name}` is for {words[takes]} images, this challenge has "
                f"{words[challenge.channels]}"
            )
            remedy = f"train it with `{key}.channels={challenge.channels}`"
            yield Violation("invalid_entry", place, cause, remedy)


def _known(name: str) -> bool:
    return name in registry.METHODS or name in registry.installed()


def _rules(facts: Manifest, rules: Rules, place: str) -> Iterator[Violation]:
    for rule in ("pretrained", "external_data"):
        if getattr(facts.uses, rule) and getattr(rules, rule) == "forbidden":
            cause = f"declares `uses.{rule}: true`, the challenge's rules forbid it"
            yield Violation("invalid_entry", place, cause, "train without it")
