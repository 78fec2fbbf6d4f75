"""`challenge workers`: the machines that judge, and the certificate that they show each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from challenge.cli.shared.options import JsonOption, TlsOption

if TYPE_CHECKING:
    from challenge.submissions.judging.roster import Listed


def workers(
    address: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="Of a Dask scheduler, `tls://HOST:8786`."),
    ] = None,
    tls: TlsOption = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Make a certificate that all machines show and trust; no more."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the machines that judge for a Dask scheduler.

    The last column says why a worker would not judge, where it would not. docs/cluster.md has how
    workers are started.

    Example: challenge workers tls://10.0.0.1:8786 --tls cluster
    """
    from challenge.cli.shared.console import say, show, show_json
    from challenge.configs.errors import UserError
    from challenge.submissions.judging import access, connection

    if certificate is not None:
        access.make_certificate(certificate)
        say(f"{certificate}: who has this folder may run code on the machines that trust it")
        return
    if address is None:
        raise UserError.of(
            "ADDRESS", "is missing", "give that of a scheduler, or `--certificate FOLDER`"
        )
    if address in (connection.LOCAL, connection.SLURM):
        remedy = "give an address; that of jobs is what `score` says first"
        raise UserError.of(address, "is a scheduler of `score` alone, while that runs", remedy)
    from challenge.submissions.judging.roster import roster

    with connection.connect(address, tls, option="") as client:
        page, found = connection.dashboard(client), roster(client)
    if as_json:
        show_json({"format": 1, "dashboard": page, "workers": [each.to_json() for each in found]})
        return
    if not found:
        say("no worker is there; see docs/cluster.md")
    else:
        _show(found)
    if page:
        show(f"dashboard  {page}")


def _show(found: list[Listed]) -> None:
    from challenge.cli.shared.console import table

    table(
        ("machine", "worker", "processor", "isolation", "speed", "judges", "note"),
        [
            (
                each.host,
                each.address.rpartition("//")[2],
                each.processor,
                each.level,
                f"{each.milliseconds:.2f} ms" if each.milliseconds else "not measured",
                each.judges or "-",
                each.note,
            )
            for each in found
        ],
        left=("machine", "worker", "processor", "isolation", "judges", "note"),
    )
