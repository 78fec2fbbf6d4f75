"""The installed toolkit as a wheel, so that a kit can be installed where the toolkit never was.

It is written from the folders that are imported here, an installed package or a checkout alike: it
is the toolkit that judges. It needs no build tool and no network, and the same files give the same
bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from challenge.configs.errors import UserError
from challenge.submissions.entries.archive import DATE
from challenge.submissions.jail import stage

LAYERS = ("cli", *stage.LAYERS)
SUFFIXES = {
    *(".py", ".pyi", ".typed", ".yaml", ".json", ".npy", ".zip", ".md", ".txt", ".ipynb"),
    *(".html", ".css", ".js"),
}
"""Of the files that belong to the toolkit."""
TAG = "py3-none-any"


def file_name() -> str:
    """Of the wheel: name, version and tag, as installers want it."""
    return f"challenge-{Version(metadata.version('challenge'))}-{TAG}.whl"


@cache
def build() -> bytes:
    """The wheel's bytes.

    Raises:
        UserError: the toolkit runs from files that were not installed.
    """
    package = metadata.distribution("challenge")
    info = f"challenge-{Version(package.version)}.dist-info"
    described = package.read_text("METADATA") or package.read_text("PKG-INFO")
    commands = package.read_text("entry_points.txt")
    if not described or not commands:
        cause, remedy = "is not installed as a package", "install it with `pip install`"
        raise UserError.of("the toolkit", cause, f"{remedy}, then make the kit again")
    contents = dict(_files())
    contents[f"{info}/METADATA"] = described.encode()
    contents[f"{info}/entry_points.txt"] = commands.encode()
    contents[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: challenge\nRoot-Is-Purelib: true\nTag: {TAG}\n".encode()
    )
    if licence := package.read_text("licenses/LICENSE"):
        contents[f"{info}/licenses/LICENSE"] = licence.encode()
    lines = [f"{name},{_digest(content)},{len(content)}" for name, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name, DATE)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, content)
    return buffer.getvalue()


def requirements() -> list[str]:
    """What the toolkit needs, each in the version that is installed here: `torch==2.6.0`."""
    found = {}
    for line in metadata.requires("challenge") or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            found[canonicalize_name(needed.name)] = _pinned(needed)
    return [found[name] for name in sorted(found)]


def _pinned(needed: Requirement) -> str:
    """In the version that is installed here; as it is required where it is not installed."""
    try:
        # A build for one kind of machine, 2.6.0+cpu, is elsewhere the plain version.
        return f"{needed.name}=={Version(metadata.version(needed.name)).public}"
    except metadata.PackageNotFoundError:
        return f"{needed.name}{needed.specifier}"


def _files() -> Iterator[tuple[str, bytes]]:
    """Name in the wheel and content of every file of the toolkit, sorted."""
    for layer in LAYERS:
        spec = find_spec(f"challenge.{layer}")
        assert spec is not None and spec.origin is not None
        home = Path(spec.origin).parent
        for path in sorted(home.rglob("*")):
            inside = path.relative_to(home)
            hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
            if path.suffix in SUFFIXES and path.is_file() and not hidden:
                yield f"challenge/{layer}/{inside.as_posix()}", path.read_bytes()


def _digest(content: bytes) -> str:
    """As RECORD wants it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
