"""The page of the last day: podium, ties, all teams on one hidden image, a sheet for each team."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from challenge.data.challenges.rules import shown
from challenge.data.layout import Hidden
from challenge.submissions.entries.summary import Summary
from challenge.submissions.judging.board import Row
from challenge.submissions.judging.reveal import Revealed
from challenge.submissions.reports import board_page
from challenge.submissions.reports.board_page import Number, View, interval
from challenge.submissions.reports.hidden_pictures import Gallery, Scene, Shown, telling
from challenge.submissions.reports.pages.page import render
from challenge.submissions.reports.standing import Standing
from challenge.submissions.scoring.ranking import FEWEST

PODIUM = 3
"""Ranks that stand on it."""
TOGETHER = 15
"""Entries on one image; the first ones."""


@dataclass(frozen=True)
class Step:
    """A team on the podium."""

    place: str
    team: str
    members: str
    method: str
    psnr: str
    flags: tuple[str, ...]
    """Whose entry it is alike: nobody is cheered for a copy unawares."""


@dataclass(frozen=True)
class Sheet:
    """All that is said of one team."""

    team: str
    members: str
    method: str
    numbers: tuple[Number, ...]
    facts: tuple[tuple[str, str], ...]
    """What the entry says of itself, by what it is."""
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class Final:
    """What the template is filled with, beside the board."""

    heading: str
    lead: str
    podium: tuple[Step, ...]
    verdict: str
    scenes: tuple[Scene, ...]
    sheets: tuple[Sheet, ...]
    checks: tuple[str, ...]


def page(found: Final, board: View) -> str:
    """The page as HTML."""
    return render("final.html", ["sort", "lens"], title=found.heading, final=found, board=board)


def view(
    board: Standing,
    before: Standing | None,
    hidden: Hidden,
    labels: dict[str, str],
    revealed: Revealed,
) -> tuple[Final, View]:
    """What the page says.

    Args:
        board: of the images that decide.
        before: the board of the week, where it was of other images.
        hidden: the revealed folder.
        labels: of the folders of reconstructions, by `Row.entry`.
        revealed: when it was.
    """
    gallery = Gallery(board, hidden, labels)
    together = board.counting[:TOGETHER]
    name, images = board.challenge.config.name, board.evidence.images
    practice = " (practice)" if board.challenge.practice else ""
    closed = ", which were closed until then" if board.part else ""
    found = Final(
        heading=f"{name}{practice}: the result",
        lead=f"Revealed {shown(revealed.at)}, on {images} hidden images{closed}.",
        podium=tuple(podium(board)),
        verdict=verdict(board),
        scenes=tuple(gallery.scene(*each, together) for each in telling(together)),
        sheets=tuple(_sheet(each, board, before, gallery) for each in board.teams),
        checks=(
            f"The seal holds: {revealed.seal}. Truth, measurements, noise and metric are those "
            "that the challenge was published with.",
            f"Everybody verifies that with the hidden folder: `challenge seal {name}`.",
            "scores.csv beside this page has every score of every image.",
            *board.remarks,
        ),
    )
    return found, board_page.view(board)


def verdict(board: Standing) -> str:
    """What the podium is worth, in a sentence or two."""
    teams, images = board.teams, board.evidence.images
    if not teams:
        return "No entry of a team counts."
    if len(teams) == 1:
        return "One team alone is in the ranking."
    if images < FEWEST:
        return (
            f"On {images} images nothing is called different: this order may be chance. That takes "
            f"{FEWEST} images."
        )
    place = board.evidence.places[teams[0].entry]
    tied = [
        each.team
        for each in teams[1:]
        if set(board.evidence.places[each.entry].ties) & set(place.ties)
    ]
    # Not sharing a letter is not enough: an entry between them may be told apart from both.
    if place.worst == 1:
        return f"{teams[0].team} is ahead of every other team, beyond chance."
    if not tied:
        return (
            f"{teams[0].team} has the highest mean, but it is not told apart from every other "
            f"team: its rank may be any of {place.rank}."
        )
    who = ", ".join(tied[:-1]) + (" and " if tied[:-1] else "") + tied[-1]
    return (
        f"{teams[0].team} has the highest mean. On these images it is not told apart from {who}: "
        "they share the first places."
    )


def podium(board: Standing) -> Iterator[Step]:
    """The teams of the first ranks; ties may be more than three."""
    for each in board.teams:
        if each.rank is None or each.rank > PODIUM:
            return
        place = board.evidence.places.get(each.entry)
        yield Step(
            place=place.rank if place and place.rank else str(each.rank),
            team=each.team,
            members=", ".join(board.members.get(each.team, ())),
            method=each.name,
            psnr=f"{each.psnr:.2f} dB" if each.psnr is not None else "",
            flags=tuple(each.alike),
        )


def _sheet(each: Row, board: Standing, before: Standing | None, gallery: Gallery) -> Sheet:
    return Sheet(
        team=each.team,
        members=", ".join(board.members.get(each.team, ())),
        method=each.name,
        numbers=tuple(_numbers(each, board, before)),
        facts=tuple(_facts(each, each.summary or Summary())),
        pictures=tuple(_pictures(each, gallery)),
    )


def _numbers(each: Row, board: Standing, before: Standing | None) -> Iterator[Number]:
    place = board.evidence.places.get(each.entry)
    first = place.ranks.get(1, 0.0) if place else 0.0
    rank = place.rank if place and place.rank else str(each.rank)
    yield Number("rank", rank, f"first in {first:.0%} of the draws of images")
    yield Number("PSNR", f"{each.psnr:.2f} dB", interval(each.low, each.high, 2))
    yield Number("SSIM", f"{each.ssim:.4f}", interval(each.ssim_low, each.ssim_high, 3))
    same = [row for row in before.counting if row.entry == each.entry] if before else []
    for row in same:
        was = before.evidence.places.get(row.entry) if before else None
        ranked = f"rank {was.rank}" if was and was.rank else ""
        yield Number("during the week", f"{row.psnr:.2f} dB", ranked)
    limit = board.challenge.config.limits
    yield Number("time", f"{each.seconds or 0:,.0f} s", f"of {limit.minutes * 60:,.0f} s")
    yield Number("size", f"{each.megabytes:.2f} MB", f"of {limit.weights_mb:g} MB")
    if each.summary and each.summary.parameters is not None:
        yield Number("parameters", f"{each.summary.parameters:,}")


def _facts(each: Row, told: Summary) -> Iterator[tuple[str, str]]:
    if told.method:
        yield "Method", told.method
    if told.settings:
        yield "Settings", told.settings
    if told.training:
        trained = told.training
        yield (
            "Training",
            f"{_duration(trained.seconds)} on {trained.images:,} images ({trained.source}), "
            f"seed {trained.seed}, {trained.machine}",
        )
    uses = {"pretrained": "pretrained weights", "external_data": "other training images"}
    declared = [uses.get(name, name) for name in each.uses]
    yield "Declared", ", ".join(declared) or "neither pretrained weights nor other images"
    handed_in = ", ".join(f"{day}: {count}" for day, count in each.per_day.items())
    yield "Entries", f"{each.entries} ({handed_in})"
    yield "Entry", f"sha256 {each.entry}…, judged at the isolation level {each.isolation}"
    for line in (each.note, *each.alike, *each.doubts):
        if line:
            yield "Remark", line


def _pictures(each: Row, gallery: Gallery) -> Iterator[Shown]:
    """Its best, its median and its worst image."""
    ordered = sorted(each.images, key=lambda name: (-each.images[name], name))
    if not ordered:
        return
    chosen = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    told = set[str]()
    for word, identity in chosen.items():
        found = None if identity in told else gallery.estimate(each, identity)
        told.add(identity)
        if found is not None:
            yield Shown(f"{word}: image {identity}", found.photo, found.lines)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
