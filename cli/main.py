"""`challenge`: the one place that builds the app, catches errors and sets exit codes."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from challenge.cli import (
    amend,
    analyse,
    board,
    check,
    compare,
    config,
    demo,
    doctor,
    infer,
    kit,
    methods,
    pack,
    prepare,
    report,
    reveal,
    rules,
    score,
    seal,
    train,
    workers,
)
from challenge.cli.shared import workspace
from challenge.configs.errors import UserError


class Command(TyperCommand):
    """A command whose help says in words what it takes, where Typer shows Python's types."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments by their names alone, options with a word in capitals for their value."""
        found: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                word = "" if is_argument else f" {str(parameter.name).upper()}"
                name = re.sub(r" <[^>]*>", word, record[0])
                found["Arguments" if is_argument else "Options"].append((name, record[1]))
        for title, records in found.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


app = typer.Typer(
    name="challenge",
    help="Run an image-reconstruction competition from end to end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_whole = False
"""Whether whole tracebacks are wanted."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"challenge {version('challenge')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback", help="Show the whole traceback of an error, the toolkit's part as well."
        ),
    ] = False,
) -> None:
    global _whole
    # `demo` calls the app anew for each of its commands.
    _whole = _whole or traceback


def _with_interrupts(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which says so when Ctrl-C ends it."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            with workspace.command(command.__name__):
                command(*arguments, **options)
        except KeyboardInterrupt:
            from challenge.cli.shared.console import say

            say("interrupted; nothing was left half-written")
            raise typer.Exit(130) from None

    return run


for _command in (
    demo.demo,
    prepare.prepare,
    train.train,
    infer.infer,
    score.score,
    workers.workers,
    compare.compare,
    analyse.analyse,
    report.report,
    pack.pack,
    check.check,
    board.board,
    methods.methods,
    config.config,
    kit.kit,
    rules.rules,
    amend.amend,
    seal.seal,
    reveal.reveal,
    doctor.doctor,
):
    app.command(cls=Command)(_with_interrupts(_command))


def main() -> None:
    """Entry point of the console script: a user's mistake is one line and exit code 2."""
    from challenge.cli.shared import streams
    from challenge.cli.shared.console import fail

    global _whole
    _whole = False
    streams.guard()
    try:
        app(obj=functools.partial(app, standalone_mode=False))
    except UserError as error:
        if _whole:
            raise
        fail(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) went away; there is nobody left to tell.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        from challenge.cli.shared.faults import explain

        code = None if _whole else explain(error, sys.argv[1:])
        if code is None:
            raise
        sys.exit(code)
