"""Every score of every image of every entry, as CSV: the statistics can be done again from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from challenge.submissions.judging.parts import Part
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.result_files import SHORT
from challenge.submissions.scoring.references import References
from challenge.submissions.text import no_formula

COLUMNS = (
    "team", "method", "entry", "outcome", "counts", "image", "part", "psnr", "ssim", "nmse",
    "seconds",
)  # fmt: skip


def text(
    results: Iterable[Result],
    references: References,
    parts: Mapping[str, Part],
    counting: Iterable[str],
) -> str:
    """One line an image of an entry, by team, method, entry and image; numbers in full.

    References stand behind the entries, in brackets. An entry that failed has one line, without
    an image.

    Args:
        results: one verdict an entry.
        parts: of each image, where the test set is split.
        counting: the first 16 hex digits of the entries in the ranking.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    ranked = set(counting)
    ordered = sorted(results, key=lambda each: (each.entry.team, each.entry.name, each.entry.hash))
    for result in ordered:
        entry = result.entry
        about = [no_formula(entry.team), no_formula(entry.name), entry.hash, result.outcome]
        about.append("yes" if entry.hash[:SHORT] in ranked else "no")
        if result.outcome != "ok":
            writer.writerow([*about, *[""] * 6])
            continue
        for image in sorted(result.images, key=lambda each: each.id):
            numbers = (image.psnr, image.ssim, image.nmse, image.seconds)
            shown = ["" if each is None else repr(each) for each in numbers]
            writer.writerow([*about, no_formula(image.id), parts.get(image.id, ""), *shown])
    for name, scores in sorted(references.psnr.items()):
        for identity, value in sorted(scores.items()):
            about = [f"({name})", "", "", "ok", "no", no_formula(identity)]
            writer.writerow([*about, parts.get(identity, ""), repr(value), "", "", ""])
    return buffer.getvalue()
