"""Score entries as `challenge score --scheduler` does, with the runner without torch.

python score_on_cluster.py WORKSPACE ADDRESS LEVEL ENTRY...
"""

import sys
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import open_challenge
from challenge.data.layout import Workspace
from challenge.submissions.judging import connection
from challenge.submissions.judging.cluster import Cluster
from challenge.submissions.judging.judge import open_judge
from challenge.submissions.judging.pool import judge_all

if __name__ == "__main__":
    place = Workspace(Path(sys.argv[1]))
    challenge = open_challenge(place.public("tiny").path)
    runner = Path(__file__).parents[1] / "echo_runner.py"
    level, hidden = sys.argv[3], place.hidden("tiny")
    judge = open_judge(place, challenge, hidden, None, level=level, runner=runner)  # type: ignore[arg-type]
    try:
        with connection.connect(sys.argv[2], workers=2) as client:
            cluster = Cluster(client, place, challenge.config.limits)
            for judged in judge_all(judge, [*map(Path, sys.argv[4:])], cluster=cluster):
                print(judged.entry.name, judged.fresh, judged.fault, flush=True)
    except UserError as error:
        sys.exit(str(error))
