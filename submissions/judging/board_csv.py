"""The board as CSV, a line each row, safe in a spreadsheet: no stranger's name is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from challenge.submissions.judging.board import Row
from challenge.submissions.judging.evidence import Evidence
from challenge.submissions.text import no_formula

Value = str | float | int | bool | None


def text(rows: Sequence[Row], evidence: Evidence, members: Mapping[str, Sequence[str]]) -> str:
    """The rows with a header; numbers are written in full, what is unknown is empty.

    A text that a spreadsheet would calculate has an apostrophe before it, and what is not printable
    is written out, as `\\u202e`.

    Args:
        members: of a team, by its name.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for number, row in enumerate(rows):
        line = _line(row, evidence, members)
        if not number:
            writer.writerow(line)
        writer.writerow(map(_cell, line.values()))
    return file.getvalue()


def _line(row: Row, evidence: Evidence, members: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    place = evidence.places.get(row.entry)
    gap = place.to_next if place else None
    return {
        "rank": row.rank,
        "rank_best": place.best if place else None,
        "rank_worst": place.worst if place else None,
        "ties": " ".join(place.ties) if place else "",
        "team": row.team,
        "method": row.name,
        "members": ", ".join(members.get(row.team, ())),
        "outcome": row.outcome,
        "cause": row.cause,
        "counts": row.counts,
        "baseline": row.baseline,
        "psnr": row.psnr,
        "psnr_low": row.low,
        "psnr_high": row.high,
        "ssim": row.ssim,
        "ssim_low": row.ssim_low,
        "ssim_high": row.ssim_high,
        "nmse": row.nmse,
        "to_next": gap.difference.mean if gap else None,
        "to_next_low": gap.difference.low if gap else None,
        "to_next_high": gap.difference.high if gap else None,
        "to_next_p": gap.p if gap else None,
        "to_next_clear": gap.clear if gap else None,
        "seconds": row.seconds,
        "megabytes": row.megabytes,
        "parameters": row.summary.parameters if row.summary else None,
        "isolation": row.isolation,
        "received": row.received,
        "entries": row.entries,
        "per_day": ", ".join(f"{day}: {count}" for day, count in row.per_day.items()),
        "note": row.note,
        "remarks": "; ".join((*row.doubts, *row.alike)),
        "entry": row.entry,
    }


def _cell(value: Value) -> str:
    if isinstance(value, str):
        return no_formula(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else repr(value)
