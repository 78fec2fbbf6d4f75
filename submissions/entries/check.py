"""The static check of an entry: every problem at once, with its remedy.

Nothing of the entry is imported or unpacked, and torch is not needed. `challenge pack` runs it
before it writes, the judge before it unpacks.
"""

from __future__ import annotations

import ast
import errno
import tempfile
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from packaging.utils import canonicalize_name

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits, Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.entries import archive, imports, manifest, packages, weights
from challenge.submissions.entries.archive import AGAIN
from challenge.submissions.entries.manifest import Manifest
from challenge.submissions.entries.teams import Teams
from challenge.submissions.entries.violations import Violation
from challenge.submissions.layout import CONFIG, MANIFEST, PLUGIN, WEIGHTS

LONGEST_SOURCE, ALL_SOURCES = 200_000, 2_000_000
"""Bytes of the largest Python file of a plugin, and of all. The tree of a hostile file takes 900
times its bytes and 9 seconds a megabyte."""

MOST_IMPORTS, SHOWN = 50, 3
"""How many imports, and how many tensors of one kind, are listed."""

FINITE = (
    "train again, perhaps with a smaller `train.lr`; what is infinite on purpose belongs into "
    "`register_buffer(..., persistent=False)`"
)

Members = Mapping[str, zipfile.ZipInfo]

DAMAGE = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What Python's zipfile raises when a member is not what the directory says."""


def check(
    path: Path,
    challenge: Challenge | None = None,
    teams: Teams | None = None,
    *,
    shown: str | None = None,
) -> list[Violation]:
    """Every problem of a packed entry; empty when it may be judged.

    Args:
        path: the zip.
        challenge: whose limits and rules hold, and for which the entry must be packed; without
            it only the entry itself is checked, against the default limits.
        teams: the organiser's list; None accepts any team.
        shown: the zip's name in the problems, its file name by default.
    """
    shown = shown or path.name
    limits = challenge.config.limits if challenge else Limits()
    members, problems = archive.members(path, shown)
    if problems and not members:
        return problems
    for name in sorted({MANIFEST, CONFIG, WEIGHTS} - {*members}):
        problems.append(Violation("invalid_entry", f"{shown}/{name}", "is missing", AGAIN))
    oversize = list(_size(members, limits, shown))
    problems += oversize
    rules = challenge.config.rules if challenge else None
    with zipfile.ZipFile(path) as file:
        try:
            facts = _manifest(file, members, shown, problems)
            config = _config(file, members, shown, problems)
            if facts:
                problems += _identity(facts, config, challenge, teams, shown)
            if not oversize:
                problems += _contents(file, members, facts, shown)
            classes = _plugin(file, members, config, rules, shown, problems)
            if config:
                problems += _method(config, classes, rules, shown)
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                # The disk's fault, or the machine's: it says nothing about the entry.
                raise
            cause = f"is damaged ({error or type(error).__name__})"
            problems.append(Violation("invalid_entry", shown, cause, "copy it again"))
    return problems


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of an entry, None where there is none that can be read."""
    members, _ = archive.members(path, path.name)
    if MANIFEST not in members:
        return None
    try:
        with zipfile.ZipFile(path) as file:
            return _manifest(file, members, path.name, [])
    except DAMAGE:
        return None


def _size(members: Members, limits: Limits, shown: str) -> Iterator[Violation]:
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
            "train a smaller network, or keep its weights in half precision",
        )


def _read(file: zipfile.ZipFile, info: zipfile.ZipInfo, largest: int) -> bytes | None:
    """The content of a small member; None if it is larger than that."""
    if info.file_size > largest:
        return None
    with file.open(info) as member:
        return member.read(largest + 1)


def _manifest(
    file: zipfile.ZipFile, members: Members, shown: str, problems: list[Violation]
) -> Manifest | None:
    if MANIFEST not in members:
        return None
    place = f"{shown}/{MANIFEST}"
    content = _read(file, members[MANIFEST], manifest.LARGEST)
    if content is None:
        problems.append(Violation("invalid_entry", place, "is wrong, it is too large", AGAIN))
        return None
    try:
        return manifest.parse(content)
    except ValueError as error:
        problems.append(Violation("invalid_entry", place, f"is wrong, {error}", AGAIN))
        return None


def _config(
    file: zipfile.ZipFile, members: Members, shown: str, problems: list[Violation]
) -> EntryConfig | None:
    from challenge.configs.loader import LARGEST, load_entry

    if CONFIG not in members:
        return None
    content = _read(file, members[CONFIG], LARGEST)
    if content is None:
        place = f"{shown}/{CONFIG}"
        problems.append(Violation("invalid_entry", place, "is too large for a config", AGAIN))
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / CONFIG
        copy.write_bytes(content)
        try:
            return load_entry(str(copy))[0]
        except UserError as error:
            for mistake in error.mistakes:
                # The loader speaks of the copy; the line behind its name is what matters.
                place = f"{shown}/{CONFIG}{mistake.place.rpartition(CONFIG)[2]}"
                remedy = mistake.remedy or AGAIN
                problems.append(Violation("invalid_entry", place, mistake.cause, remedy))
            return None


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
        yield Violation("invalid_entry", place, f"does not agree with `{CONFIG}`", AGAIN)
    if challenge is None:
        return
    if facts.challenge.name != challenge.config.name:
        cause = f"is packed for `{facts.challenge.name}`, this is `{challenge.config.name}`"
        yield Violation("invalid_entry", place, cause, "train and pack it for this challenge")
    elif facts.challenge.hash != challenge.hash:
        cause = f"is packed for another preparation of `{facts.challenge.name}`"
        remedy = "get the current public folder, then train and pack again"
        yield Violation("invalid_entry", place, cause, remedy)
    yield from _rules(facts, challenge.config.rules, place)


def _rules(facts: Manifest, rules: Rules, place: str) -> Iterator[Violation]:
    for rule in ("pretrained", "external_data"):
        if getattr(facts.uses, rule) and getattr(rules, rule) == "forbidden":
            cause = f"declares `uses.{rule}: true`, the challenge's rules forbid it"
            yield Violation("invalid_entry", place, cause, "train without it")


def _contents(
    file: zipfile.ZipFile, members: Members, facts: Manifest | None, shown: str
) -> Iterator[Violation]:
    """The weights, and all files against the sizes and hashes of the manifest; each read once."""
    files = facts.files if facts else {}
    for name in sorted({*files} - {*members, CONFIG, WEIGHTS}):
        yield Violation("invalid_entry", f"{shown}/{name}", "is missing", AGAIN)
    for name in sorted({*members} - {*files, MANIFEST}) if facts else ():
        yield Violation("invalid_entry", f"{shown}/{name}", "is not in the manifest", AGAIN)
    for name in sorted({*members} & {*files, WEIGHTS}):
        info, fact = members[name], files.get(name)
        with file.open(info) as opened:
            member = archive.Hashed(opened)
            if name == WEIGHTS:
                yield from _weights(member, info.file_size, f"{shown}/{name}")
            if fact and (info.file_size != fact.size or member.digest() != fact.sha256):
                cause = "was changed after packing"
                yield Violation("invalid_entry", f"{shown}/{name}", cause, AGAIN)


def _weights(file: archive.Hashed, size: int, place: str) -> Iterator[Violation]:
    """The format of the weights, and that every value is a number to compute with."""
    try:
        tensors, _ = weights.read_header(file, size)
        bad = weights.not_finite(file, tensors)
    except weights.NotSafetensors as error:
        yield Violation("invalid_entry", place, str(error), AGAIN)
        return
    if bad:
        listed = ", ".join(f"`{name[:80]}` {count:,}" for name, count in [*bad.items()][:SHOWN])
        more = f" and {len(bad) - SHOWN} more tensors" if len(bad) > SHOWN else ""
        cause = f"holds {sum(bad.values()):,} NaN or infinite values: {listed}{more}"
        yield Violation("invalid_entry", place, cause, FINITE)


def _plugin(
    file: zipfile.ZipFile,
    members: Members,
    config: EntryConfig | None,
    rules: Rules | None,
    shown: str,
    problems: list[Violation],
) -> dict[str, set[str]]:
    """The classes of every Python file, which is parsed and never run; what it imports."""
    found: dict[str, set[str]] = {name: set() for name in members if name.startswith(f"{PLUGIN}/")}
    files = imports.Files(found, _root(config, found))
    bytes_left, imports_left = ALL_SOURCES, MOST_IMPORTS
    for name in found:
        place, info = f"{shown}/{name}", members[name]
        source = _read(file, info, min(LONGEST_SOURCE, bytes_left))
        if source is None:
            cause = (
                f"has {info.file_size:,} bytes, a Python file at most {LONGEST_SOURCE:,}, "
                f"all together {ALL_SOURCES:,}"
            )
            remedy = "keep data in the method's buffers"
            problems.append(Violation("invalid_entry", place, cause, remedy))
            continue
        bytes_left -= len(source)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f"{place}:{line}" if line else place
            deep = isinstance(error, RecursionError | MemoryError)
            said = "it is nested too deeply" if deep else getattr(error, "msg", None) or error
            cause = f"is not Python: {said}"
            problems.append(Violation("invalid_entry", where, cause, "mend it, then pack again"))
            continue
        found[name] = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        told = imports.problems(tree, name, files, rules, shown)
        new = list(islice(told, imports_left))
        problems += new
        imports_left -= len(new)
        if not imports_left and next(told, None):
            cause = "has more imports that cannot work, which are not listed"
            problems.append(Violation("invalid_entry", place, cause, "mend those that are"))
    return found


def _root(config: EntryConfig | None, files: Collection[str]) -> str:
    """The folder that is the plugin's package: that of the method's file."""
    name = config.method.get("name") if config else None
    source = name.partition(":")[0] if isinstance(name, str) else ""
    return source.rpartition("/")[0] if source in files else PLUGIN


def _method(
    config: EntryConfig, classes: Mapping[str, set[str]], rules: Rules | None, shown: str
) -> Iterator[Violation]:
    """The method's name: a word of the table, a class of a file that is in the entry, or a
    method of an installed package that the rules permit."""
    from challenge.methods import plugin, registry

    place = f"{shown}/{CONFIG}"
    name = config.method.get("name")
    if not isinstance(name, str):
        yield Violation("invalid_entry", place, "`method.name` is missing", AGAIN)
    elif plugin.is_plugin(name):
        source, _, wanted = name.partition(":")
        if source not in classes:
            yield Violation("invalid_entry", place, f"`{source}` is not in the entry", AGAIN)
        elif wanted and classes[source] and wanted not in classes[source]:
            cause = f"`{source}` has no class `{wanted}`"
            listed = f"classes: {', '.join(sorted(classes[source]))}"
            remedy = spelling.did_you_mean(wanted, classes[source], listed)
            yield Violation("invalid_entry", place, cause, remedy)
    elif name not in registry.METHODS:
        unknown = registry.unknown(name)
        owner = registry.provider(name) or ""
        if unknown:
            yield Violation("invalid_entry", place, *unknown)
        elif rules and canonicalize_name(owner) not in packages.listed(rules):
            cause = f"the method `{name}` is of the package `{owner}`, which is not permitted"
            remedy = (
                f"ask the organiser to list it, `rules.packages: [{owner}]`, or put its files "
                "into a folder and name them, `path/method.py:Class`"
            )
            yield Violation("invalid_entry", place, cause, remedy)
