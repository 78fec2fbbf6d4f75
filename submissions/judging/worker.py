"""A worker: judges the entries that its input names, one after the other.

    python -I -m challenge.submissions.judging.worker  < requests  > answers, a JSON object a line

The first line of the input says what is judged, and on which cores. Answers are `step` after each
reconstruction, `refused` for a mistake of the user, else `result`, `fresh` and `fault`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Hidden, Workspace
from challenge.submissions.entries import teams
from challenge.submissions.inference.supervisor import Step
from challenge.submissions.jail.levels import Level
from challenge.submissions.judging.judge import Judge, Rejudge, judge_entry, open_judge
from challenge.submissions.judging.result import Result


@dataclass(frozen=True)
class Judged:
    """What became of one entry: a verdict, or a fault of ours in words."""

    entry: Path
    result: Result | None
    fresh: bool = False
    """Whether it was judged now; False: the verdict stood already."""
    fault: str = ""
    """The traceback of a fault of the judge or of this machine; there is no verdict then."""


def judge_one(
    judge: Judge, entry: Path, rejudge: Rejudge, progress: Callable[[Step], None] | None
) -> Judged:
    """Judge an entry; a fault of ours is said, a mistake of the user raised."""
    try:
        result, fresh = judge_entry(judge, entry, rejudge=rejudge, progress=progress)
    except UserError:
        raise
    except Exception:
        # One entry must not keep the others from being judged.
        return Judged(entry, None, fault=traceback.format_exc())
    return Judged(entry, result, fresh)


def main() -> None:
    """Judge what stdin names, one entry after the other."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    # Whatever a library prints is not an answer.
    os.dup2(2, 1)
    opening = json.loads(sys.stdin.readline())
    if opening["cores"]:
        os.sched_setaffinity(0, opening["cores"])
    place = Workspace(Path(opening["workspace"]))

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    level: Level = opening["level"]
    judge = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if judge is None:
                judge = open_judge(
                    place,
                    open_challenge(Path(opening["challenge"])),
                    Hidden(Path(opening["hidden"])),
                    teams.load(place),
                    level=level,
                    repeats=opening["repeats"],
                    runner=Path(opening["runner"]),
                )
            found = judge_one(
                judge,
                Path(request["entry"]),
                request["rejudge"],
                lambda step: answer(step=asdict(step)),
            )
        except UserError as error:
            answer(refused=[list(asdict(each).values()) for each in error.mistakes])
        except BaseException:
            answer(result=None, fresh=False, fault=traceback.format_exc())
            raise
        else:
            result = found.result and found.result.to_json()
            answer(result=result, fresh=found.fresh, fault=found.fault)


def die_with_parent() -> None:
    """Nobody judges for one who is gone: what it would write, the next one writes too."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main()
