"""Who may be spoken to: what an address is, what of it is safe, and the certificate for the rest.

Whoever reaches a scheduler can run code on all of its machines. So beyond this machine everything
is encrypted and both ends show a certificate (TLS); without it, only loopback is spoken to.
"""

from __future__ import annotations

import importlib.util
import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from challenge.configs.errors import UserError

PROTOCOLS = "tls", "tcp"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
"""What a folder for `--tls` holds: one certificate, which all machines show and trust."""


def need_dask(option: str) -> None:
    """Raise `UserError` where Dask is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise UserError.of(option, "needs Dask", "install `challenge[dask]`")


def is_address(address: str) -> bool:
    """Whether it has a protocol, of `PROTOCOLS`, a host and a port, and no more."""
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in PROTOCOLS
            and bool(parts.hostname and parts.port)
            and not (parts.path or parts.query or parts.fragment or "@" in address)
        )
    except ValueError:
        return False


def is_safe(address: str) -> bool:
    """Whether what is at an address is reached encrypted, or from this machine alone."""
    protocol, _, rest = address.rpartition("://")
    host = rest.rpartition(":")[0].strip("[]")
    if protocol in ("tls", "inproc"):
        return True
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_certificate(folder: Path) -> None:
    """Write a certificate with its key: who has them may speak to the scheduler.

    Raises:
        UserError: there is one already, or Dask is not installed.
    """
    need_dask("--certificate")
    from distributed.security import Security

    from challenge.data import atomic

    for name in (CERTIFICATE, KEY):
        if (folder / name).exists():
            raise UserError.of(folder / name, "exists already", "remove it, or name another folder")
    made = Security.temporary()
    atomic.write_text(folder / CERTIFICATE, str(made.tls_ca_file))
    atomic.write_text(folder / KEY, str(made.tls_client_key), mode=0o600)


def security(address: str, tls: Path | None, named: str) -> Any:
    """The certificate for a scheduler, as Dask wants it; None where none is needed.

    Args:
        address: of the scheduler.
        tls: a folder with the certificate; None: what Dask is configured with.
        named: how the address was given, for what is said of it.

    Raises:
        UserError: it is no address or not safe, or there is no certificate that can be read.
    """
    from distributed.security import Security

    if not is_address(address):
        words = "`local`, `slurm` or " * named.startswith("--")
        remedy = f"give {words}an address such as `tls://10.0.0.1:8786`; see docs/cluster.md"
        raise UserError.of(named, "is no address", remedy)
    if not address.startswith("tls://"):
        if not is_safe(address):
            raise open_to_all(named, "is not encrypted")
        return None
    if tls is None:
        found = Security()
        if found.tls_ca_file is None or found.tls_client_cert is None:
            raise UserError.of(
                named,
                "needs a certificate",
                "give `--tls FOLDER`, made by `challenge workers --certificate FOLDER`",
            )
        return found
    for name in (CERTIFICATE, KEY):
        if not (tls / name).is_file():
            raise UserError.of(
                f"--tls {tls}",
                f"has no `{name}`",
                "make it with `challenge workers --certificate FOLDER`, or copy it",
            )
    certificate, key = str(tls / CERTIFICATE), str(tls / KEY)
    made = Security(
        tls_ca_file=certificate,
        tls_client_cert=certificate,
        tls_client_key=key,
        require_encryption=True,
    )
    try:
        made.get_connection_args("client")
    except OSError as error:
        raise UserError.of(
            f"--tls {tls}",
            f"has no certificate and key that can be read ({error})",
            "make them with `challenge workers --certificate FOLDER`, or copy both once more",
        ) from None
    return made


def open_to_all(named: str, cause: str) -> UserError:
    """The mistake of a scheduler that others reach without a certificate."""
    return UserError.of(
        named,
        f"{cause}: whoever reaches it can run code on every machine",
        "use `tls://HOST:PORT`, or `tcp://127.0.0.1:PORT` on one machine; see docs/cluster.md",
    )
