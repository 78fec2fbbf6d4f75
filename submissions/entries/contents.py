"""The files of an entry, read: manifest, config, weights, and all against sizes and hashes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.submissions.entries import archive, manifest, weights
from challenge.submissions.entries.archive import Members
from challenge.submissions.entries.manifest import Manifest
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.layout import CONFIG, CURVES, MANIFEST, WEIGHTS
from challenge.submissions.runs import curves
from challenge.submissions.runs.curves import Curves

SHOWN = 3
"""How many tensors with bad values are listed."""
FINITE = (
    "train again, perhaps with a smaller `train.lr`; what is infinite on purpose belongs into "
    "`register_buffer(..., persistent=False)`"
)


def read_manifest(
    file: zipfile.ZipFile, members: Members, shown: str, problems: list[Violation]
) -> Manifest | None:
    """The manifest; None, with a new problem in the list, where it cannot be read."""
    if MANIFEST not in members:
        return None
    place = f"{shown}/{MANIFEST}"
    content = archive.read_small(file, members[MANIFEST], manifest.LARGEST)
    if content is None:
        problems.append(Violation("invalid_entry", place, "is wrong, it is too large", PACK_AGAIN))
        return None
    try:
        return manifest.parse(content)
    except ValueError as error:
        problems.append(Violation("invalid_entry", place, f"is wrong, {error}", PACK_AGAIN))
        return None


def read_config(
    file: zipfile.ZipFile, members: Members, shown: str, problems: list[Violation]
) -> EntryConfig | None:
    """The config; None, with new problems in the list, where it is wrong."""
    from challenge.configs.loader import LARGEST, load_entry

    if CONFIG not in members:
        return None
    content = archive.read_small(file, members[CONFIG], LARGEST)
    if content is None:
        place = f"{shown}/{CONFIG}"
        problems.append(Violation("invalid_entry", place, "is too large for a config", PACK_AGAIN))
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
                remedy = mistake.remedy or PACK_AGAIN
                problems.append(Violation("invalid_entry", place, mistake.cause, remedy))
            return None


def read_curves(
    file: zipfile.ZipFile, members: Members, shown: str, problems: list[Violation]
) -> Curves | None:
    """The curves of its training; None where there are none, or, with a new problem, bad ones."""
    if CURVES not in members:
        return None
    content = archive.read_small(file, members[CURVES], curves.LARGEST)
    try:
        if content is None:
            raise ValueError(f"it has more than {curves.LARGEST:,} bytes")
        return curves.parse(content)
    except ValueError as error:
        place = f"{shown}/{CURVES}"
        problems.append(Violation("invalid_entry", place, f"is wrong, {error}", PACK_AGAIN))
        return None


def differences(
    file: zipfile.ZipFile,
    members: Members,
    facts: Manifest | None,
    refused: Collection[str],
    shown: str,
) -> dict[str, list[Violation]]:
    """The weights, and all files against the sizes and hashes of the manifest; each read once.

    Args:
        refused: files of which it is said already what is wrong with them.

    Returns:
        What is wrong, by the name of the file.
    """
    files = facts.files if facts else {}

    def wrong(name: str, cause: str) -> list[Violation]:
        return [Violation("invalid_entry", f"{shown}/{name}", cause, PACK_AGAIN)]

    found = {
        name: wrong(name, "is missing")
        for name in sorted({*files} - {*members, *refused, CONFIG, WEIGHTS})
    }
    for name in sorted({*members} - {*files, MANIFEST}) if facts else ():
        found[name] = wrong(name, "is not in the manifest")
    for name in sorted({*members} & {*files, WEIGHTS}):
        info, fact = members[name], files.get(name)
        with file.open(info) as opened:
            member = archive.Hashed(opened)
            inside = (
                list(_weights(member, info.file_size, f"{shown}/{name}")) if name == WEIGHTS else []
            )
            if fact and (info.file_size != fact.size or member.digest() != fact.sha256):
                found[name] = wrong(name, "was changed after packing")
            elif inside and name not in found:
                found[name] = inside
    return found


def _weights(file: archive.Hashed, size: int, place: str) -> Iterator[Violation]:
    """The format of the weights, and that every value is a number to compute with."""
    try:
        tensors, _ = weights.read_header(file, size)
        bad = weights.not_finite(file, tensors)
    except weights.NotSafetensors as error:
        yield Violation("invalid_entry", place, str(error), PACK_AGAIN)
        return
    if bad:
        listed = ", ".join(f"`{name[:80]}` {count:,}" for name, count in [*bad.items()][:SHOWN])
        more = f" and {len(bad) - SHOWN} more tensors" if len(bad) > SHOWN else ""
        cause = f"holds {sum(bad.values()):,} NaN or infinite values: {listed}{more}"
        yield Violation("invalid_entry", place, cause, FINITE)
