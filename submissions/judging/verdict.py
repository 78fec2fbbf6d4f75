"""What a result says of an entry: who made it, why it is refused, how it went."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from challenge.configs.schema.entry import Uses
from challenge.submissions.entries import fingerprint, summary
from challenge.submissions.entries.check import read_manifest
from challenge.submissions.entries.likeness import Likeness
from challenge.submissions.entries.violations import Violation, outcome_of
from challenge.submissions.inference.supervisor import Inference
from challenge.submissions.judging.load import Load
from challenge.submissions.judging.result import JudgedEntry, JudgedImage, Refusal, Seconds
from challenge.submissions.scoring.scores import Scores


def entry_facts(copy: Path, name: str, entry_hash: str, *, sound: bool) -> JudgedEntry:
    """The entry as its manifest describes it; without a readable one, named by its file.

    Args:
        sound: whether it passed the check, so that more of it may be read.
    """
    facts, size = read_manifest(copy), copy.stat().st_size
    if facts is None:
        team, stem = "", Path(name).stem
        return JudgedEntry(
            hash=entry_hash, file=name, bytes=size, team=team, name=stem, uses=Uses(), versions={}
        )
    return JudgedEntry(
        hash=entry_hash,
        file=name,
        bytes=size,
        team=facts.team,
        name=facts.name,
        uses=facts.uses,
        versions=facts.versions,
        likeness=fingerprint.of(copy) if sound else Likeness(),
        **({"summary": summary.of(copy)} if sound else {}),
    )


def refused(problems: list[Violation]) -> dict[str, Any]:
    """What a result says of an entry that the static check refuses."""
    return {
        "outcome": outcome_of(problems),
        "cause": str(problems[0].mistake),
        "problems": listed(problems),
        "images": (),
    }


def listed(problems: list[Violation]) -> tuple[Refusal, ...]:
    return tuple(Refusal(outcome=each.outcome, **asdict(each.mistake)) for each in problems)


def judged(inference: Inference, scores: Scores | None, load: Load) -> dict[str, Any]:
    """What a result says of an entry that was run; scores only where it went well."""
    if scores:
        images = [
            JudgedImage(
                id=each.id,
                psnr=each.psnr,
                ssim=each.ssim,
                seconds=inference.seconds[each.id],
                **_known("nmse", each.nmse),
                **_known("calibration", each.calibration),
            )
            for each in scores.images
        ]
    else:
        images = [JudgedImage(id=each, seconds=took) for each, took in inference.seconds.items()]
    return {
        "outcome": inference.outcome,
        "cause": inference.cause,
        "problems": (),
        "psnr": scores and scores.psnr,
        "ssim": scores and scores.ssim,
        **_known("nmse", scores and scores.nmse),
        **_known("calibration", scores and scores.calibration),
        "seconds": Seconds(start_up=inference.start_up, total=inference.total, cpu=inference.cpu),
        "memory": inference.memory,
        "images": tuple(images),
        "log": inference.log,
        "load": load,
    }


def _known(key: str, value: object) -> dict[str, Any]:
    """The key with its value, where there is one."""
    return {} if value is None else {key: value}
