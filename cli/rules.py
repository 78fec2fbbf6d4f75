"""`challenge rules`: the rules of a challenge on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from challenge.cli.shared import completion
from challenge.cli.shared.options import WORKSPACE, WorkspaceOption
from challenge.cli.shared.workspace import open_prepared


def rules(
    challenge: Annotated[
        str,
        typer.Argument(
            help="A prepared challenge, or a YAML file that is not prepared yet.",
            autocompletion=completion.prepared,
        ),
    ],
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Print the rules on one page.

    What is given, the limits, how it is scored, what the test set can show, what counts, and the
    deadline: as Markdown. The kit for the teams has the same page, `RULES.md`.

    Example: challenge rules deblur
    """
    from challenge.cli.shared.console import show_page
    from challenge.cli.shared.kinds import expect, expect_name
    from challenge.configs.loader import load_challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.entries.rules_sheet import sheet

    path = Path(challenge)
    if path.suffix.lower() in (".yaml", ".yml"):
        if path.exists():
            expect([path], "challenge", also=("yaml",))
        config, _ = load_challenge(challenge, [])
        show_page(sheet(config))
        return
    expect_name(challenge, "rules")
    opened = open_prepared(Workspace(workspace).public(challenge))
    show_page(sheet(opened.config, opened))
