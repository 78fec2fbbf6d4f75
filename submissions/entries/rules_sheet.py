"""The rules of a challenge on one page: what is given, limits, how it is scored, what counts.

Markdown that reads as plain text. All of it follows from the challenge's YAML file; of a prepared
one the numbers are those of its images, and the seal and the resolution are there too.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from challenge.configs.reader.writer import flow
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import BuiltinImages, PhantomImages, values_of
from challenge.configs.schema.section import Section
from challenge.data.challenges.challenge import Challenge
from challenge.data.challenges.rules import shown
from challenge.data.layout import Public
from challenge.submissions.scoring import foreseen, metrics

WIDTH = 100
"""Characters of a line."""
COUNTS = {
    "latest": "the one that was received last",
    "best": "the one with the best score",
}
MEASUREMENTS = {
    "hidden": "hidden: the judge hands them to an entry one by one",
    "published": "published with the public folder; their truth is hidden",
}


JUDGES = {
    "any_machine": "machines of any kind may judge, the board marks other kinds than the "
    "organiser's",
    "same_machine_kind": "all judging machines have the same kind of processor",
}


def sheet(config: ChallengeConfig, challenge: Challenge | None = None) -> str:
    """The page.

    Args:
        config: with the rules that hold.
        challenge: where it is prepared.
    """
    blocks = [
        f"# Rules of the challenge `{config.name}`",
        _wrapped(
            "Reconstruct images x from measurements y = A x + noise. A method is handed in as one "
            "zip; the organiser runs it on hidden images, on a CPU, without network. It sees one "
            "measurement at a time, with its operator A."
        ),
        "## What is given",
        *_list(_given(config, challenge)),
        "## Limits of an entry",
        *_list(_limits(config)),
        "## How it is scored",
        *_list(_scored(config, challenge)),
        "## What counts",
        *_list(_counts(config, challenge)),
    ]
    return "\n\n".join(blocks) + "\n"


def _given(config: ChallengeConfig, challenge: Challenge | None) -> Iterator[str]:
    yield from _operators("Operator", config.operator)
    yield f"Noise: {described(config.noise)}; {settings(config.noise)}"
    images = config.images
    channels = f"{images.mode} images"
    if challenge is not None:
        train, val = (len(challenge.ids(split)) for split in ("train", "val"))
        yield f"To train on: {train} {channels}"
        yield f"To report on, with measurements and truth: {val} (`val`; not to be trained on)"
        sizes = sorted({f"{each.image[1]}x{each.image[2]}" for each in challenge.test.shapes})
        size = sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes"
        yield f"The hidden test set: {challenge.test.count} images of {size} pixels"
    else:
        many = f"{images.train} " if isinstance(images, BuiltinImages | PhantomImages) else ""
        yield f"To train on: {many}{channels}"
        yield f"To report on, with measurements and truth: {images.val} (`val`)"
        yield f"The hidden test set: {images.test} images of at most {images.size}x{images.size}"
    yield f"Measurements of the test set: {MEASUREMENTS[config.rules.test_measurements]}"
    values = values_of(images)
    if values.described:
        unit = f" {values.unit}".rstrip()
        yield (
            f"Values: 0 stands for {values.low:g}{unit}, 1 for {values.high:g}{unit}; pictures "
            f"show the {values.described}"
        )
    if images.mode == "complex":
        yield "Scored is the magnitude of a complex image; its parts are two channels"
    if images.source == "builtin":
        yield "This is practice: the truth of the test set comes with scikit-image"


def _operators(name: str, operator: Section) -> Iterator[str]:
    parts = getattr(operator, "operators", None)
    if parts is None:
        yield f"{name}: {described(operator)}; {settings(operator)}"
        return
    yield f"{name}: {described(operator)}"
    for number, part in enumerate(parts, 1):
        yield from _operators(f"A_{number}", part)


def _limits(config: ChallengeConfig) -> Iterator[str]:
    limits = config.limits
    yield f"All files together: {limits.weights_mb:g} MB (1 MB = 1,000,000 bytes)"
    yield f"Time for the whole test set, start included: {limits.minutes:g} min"
    yield f"CPU threads: {limits.threads}; memory: {limits.memory_gb:g} GB"
    rules = config.rules
    yield f"Where several machines judge: {JUDGES[rules.judges]} (`{rules.judges}`)"
    yield f"Pretrained networks: {rules.pretrained}; other training images: {rules.external_data}"
    yield f"Packages beside the toolkit's own: {', '.join(rules.packages) or 'none'}"


def _scored(config: ChallengeConfig, challenge: Challenge | None) -> Iterator[str]:
    yield "By mean PSNR over the test images, then by mean SSIM; a failed entry has no rank"
    yield metrics.DESCRIPTION.rstrip(".")
    if share := config.rules.final_share:
        yield (
            f"During the week the board shows all but {share:.0%} of the test images, which a "
            "secret key draws; on the last day these alone decide"
        )
    if crop := config.metric.crop:
        yield f"{crop} pixels at every side of an image do not count"
    yield (
        "Entries whose differences may be chance share a bracket and a range of ranks: they are "
        "compared image by image, with at most 5 % false alarms over a whole board"
    )
    count = challenge.test.count if challenge else config.images.test
    found = foreseen.read(Public(challenge.path)) if challenge else None
    yield from (line.rstrip(".") for line in foreseen.lines(count, found, share))


def _counts(config: ChallengeConfig, challenge: Challenge | None) -> Iterator[str]:
    rules = config.rules
    yield f"Deadline: {shown(rules.deadline)}"
    where = ""
    if rules.counts == "best" and rules.final_share is not None:
        where = " on the images of the week, on the last day with its score on the others"
    yield f"Of a team's valid entries one counts: {COUNTS[rules.counts]}{where} (`{rules.counts}`)"
    yield f"Of each team at most {rules.entries_per_day} valid entries count a day; days are UTC"
    if challenge is None:
        return
    yield f"These rules: {challenge.standing.version} ({challenge.standing.digest[:16]})"
    for change in challenge.standing.changes:
        yield f"Changed {shown(change.at)}: {change}"
    yield f"Seal of the test set, its noise and the metric: `{challenge.seal}`"


def described(section: Section) -> str:
    """The first sentence of a kind's description."""
    text = inspect.getdoc(type(section)) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def settings(section: Section) -> str:
    values: dict[str, Any] = section.model_dump(exclude_none=True)
    return f"`{flow(values)}`"


def _list(lines: Iterator[str]) -> Iterator[str]:
    yield "\n".join(_wrapped(line, "- ", "  ") for line in lines)


def _wrapped(text: str, first: str = "", other: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )
