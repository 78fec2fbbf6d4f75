"""The files of an entry, read: manifest, config, weights, and all against sizes and hashes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig
from challenge.submissions.entries import archive, manifest, weights
from challenge.submissions.entries.archive import Members
from challenge.submissions.entries.manifest import Manifest
from challenge.submissions.entries.violations import PACK_AGAIN, Violation
from challenge.submissions.layout import CONFIG, MANIFEST, WEIGHTS

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


def differences(
    file: zipfile.ZipFile, members: Members, facts: Manifest | None, shown: str
) -> Iterator[Violation]:
    """The weights, and all files against the sizes and hashes of the manifest; each read once."""
    files = facts.files if facts else {}
    for name in sorted({*files} - {*members, CONFIG, WEIGHTS}):
        yield Violation("invalid_entry", f"{shown}/{name}", "is missing", PACK_AGAIN)
    for name in sorted({*members} - {*files, MANIFEST}) if facts else ():
        yield Violation("invalid_entry", f"{shown}/{name}", "is not in the manifest", PACK_AGAIN)
    for name in sorted({*members} & {*files, WEIGHTS}):
        info, fact = members[name], files.get(name)
        with file.open(info) as opened:
            member = archive.Hashed(opened)
            if name == WEIGHTS:
                yield from _weights(member, info.file_size, f"{shown}/{name}")
            if fact and (info.file_size != fact.size or member.digest() != fact.sha256):
                cause = "was changed after packing"
                yield Violation("invalid_entry", f"{shown}/{name}", cause, PACK_AGAIN)


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
