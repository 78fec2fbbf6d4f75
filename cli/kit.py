"""`challenge kit`: what the teams get, in one zip."""

from __future__ import annotations

from challenge.cli.shared.options import WORKSPACE, PreparedChallenge, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared


def kit(
    challenge: PreparedChallenge,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Make the zip for the teams.

    The toolkit itself and the versions that it runs with here, public data, configs for this
    challenge, a method that learns with its test, README, the rules on one page (`RULES.md`), a
    starter notebook, the names of the teams (`teams.yaml`), and how fast the judging machine is,
    where `challenge doctor --calibrate` measured it.

    Example: challenge kit deblur
    """
    from challenge.cli.shared.console import say, show
    from challenge.cli.shared.kinds import expect_name
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.kit import judge_speed, make_kit
    from challenge.submissions.inference import speed

    expect_name(challenge, "kit")
    place = Workspace(workspace)
    opened = open_prepared(place.public(challenge), verify=True)
    target = make_kit(opened, place)
    show(f"made {target}: {target.stat().st_size / 1e6:.1f} MB; give it to the teams")
    found = speed.find(judge_speed(place), opened.config.limits.threads)
    if found is None or not found.usable:
        say(
            "it does not say how fast the judging machine is, so teams cannot foresee their time "
            "there; run `challenge doctor --calibrate` on it, then make the kit again"
        )
