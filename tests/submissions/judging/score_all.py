"""Score entries as `challenge score` does, with the runner without torch; killed by a test.

python score_all.py WORKSPACE WORKERS LEVEL ENTRY...
"""

import sys
from pathlib import Path

from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.submissions.judging.judge import open_judge
from challenge.submissions.judging.pool import judge_all

if __name__ == "__main__":
    place = Workspace(Path(sys.argv[1]))
    judge = open_judge(
        place,
        open_challenge(place.public("tiny").path),
        place.hidden("tiny"),
        None,
        level=sys.argv[3],  # type: ignore[arg-type]
        runner=Path(__file__).parents[1] / "echo_runner.py",
    )
    for judged in judge_all(judge, [*map(Path, sys.argv[4:])], workers=int(sys.argv[2])):
        print(judged.entry.name, judged.fresh, judged.fault, flush=True)
