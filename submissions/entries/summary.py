"""What boards and reports tell of an entry beside its scores: method, size, training, curves.

It is put into the verdict, so that a page can be made where the zips are no more. All of it but
the number of parameters is the team's word.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from challenge.configs.loader import flow
from challenge.configs.schema.section import Section
from challenge.submissions.entries.manifest import Training
from challenge.submissions.layout import WEIGHTS
from challenge.submissions.runs.curves import Curves
from challenge.submissions.text import one_line

LONGEST = 1000
"""Characters of a method's settings."""


class Summary(Section):
    """Of one entry."""

    method: str = ""
    """The method's name: `unrolled`, `plugin/method.py:Mine`."""
    settings: str = ""
    """Its knobs, on one line of YAML, cut where they are long."""
    parameters: int | None = None
    """Numbers in the weights, tuned settings and running means among them."""
    training: Training | None = None
    curves: Curves | None = None


def of(entry: Path) -> Summary:
    """Of an entry that passed the check; it is read, never run."""
    from challenge.submissions.entries import archive, contents, weights  # numpy: not for a board

    members = archive.members(entry, entry.name).members
    with zipfile.ZipFile(entry) as file:
        facts = contents.read_manifest(file, members, entry.name, [])
        config = contents.read_config(file, members, entry.name, [])
        curves = contents.read_curves(file, members, entry.name, [])
        with file.open(members[WEIGHTS]) as opened:
            tensors, _ = weights.read_header(opened, members[WEIGHTS].file_size)
    method = dict(config.method) if config else {}
    name = str(method.pop("name", ""))
    return Summary(
        method=one_line(name, 200),
        settings=one_line(flow(method), LONGEST) if method else "",
        parameters=sum((each.end - each.begin) // weights.ITEMSIZE[each.dtype] for each in tensors),
        training=facts.training if facts else None,
        curves=curves,
    )
