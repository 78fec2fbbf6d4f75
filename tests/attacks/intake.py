"""Intake: hostile zips, refused before anything of them is unpacked or imported."""

from __future__ import annotations

import hashlib
import json
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Contents = dict[str, bytes]
DATE = (1980, 1, 1, 0, 0, 0)

CONFIG = b"""\
challenge: tiny
name: mine
method: {name: "plugin/method.py:Mine"}
"""
METHOD = b"from challenge.methods.contract import Method\n\nclass Mine(Method):\n    pass\n"


def weights(header: object = None, content: bytes = b"") -> bytes:
    text = json.dumps({} if header is None else header).encode()
    return struct.pack("<Q", len(text)) + text + content


def entry(changes: Contents | None = None, *, lie: bool = False, without: str = "") -> Contents:
    """The contents of an entry with some of them replaced, and a manifest that agrees."""
    contents = {
        "config.yaml": CONFIG,
        "plugin/method.py": METHOD,
        "weights.safetensors": weights(),
        **(changes or {}),
    }
    files = {
        name: {"sha256": hashlib.sha256(b"x" if lie else content).hexdigest(), "size": len(content)}
        for name, content in contents.items()
        if name != "manifest.json"
    }
    facts = {
        "format": 1,
        "team": "alpha",
        "name": "mine",
        "challenge": {"name": "tiny", "hash": "0" * 64},
        "versions": {},
        "uses": {},
        "files": files,
    }
    contents = {"manifest.json": json.dumps(facts).encode(), **contents}
    contents.pop(without, None)
    return contents


def packed(path: Path, contents: Contents, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(name, DATE), content, compression)


def link(path: Path) -> None:
    packed(path, entry())
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("plugin/link.py", DATE)
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")


def device(path: Path) -> None:
    packed(path, entry())
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("plugin/device.py", DATE)
        info.create_system, info.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
        file.writestr(info, "")


def lying_length(path: Path) -> None:
    """The table of contents says one size, the member another."""
    packed(path, entry())
    raw = bytearray(path.read_bytes())
    place = raw.index(b"PK\x01\x02")
    struct.pack_into("<II", raw, place + 20, 1, 1)
    path.write_bytes(raw)


def no_utf_8(path: Path) -> None:
    packed(path, entry({"plugin/x_.py": b""}))
    path.write_bytes(path.read_bytes().replace(b"plugin/x_.py", b"plugin/x\xff.py"))


def hidden_zip(path: Path) -> None:
    """Two zips in one file: readers do not agree about which one counts."""
    packed(path, entry({"plugin/method.py": b"import os\n"}))
    first = path.read_bytes()
    packed(path, entry())
    path.write_bytes(first + path.read_bytes())


def bomb(path: Path) -> None:
    packed(path, entry({"plugin/zeros.py": bytes(300_000_000)}), zipfile.ZIP_DEFLATED)


class Bomb:
    def __reduce__(self) -> object:
        return (open, ("unpickled", "w"))


@dataclass(frozen=True)
class Intake:
    """A hostile zip, and what is said of it."""

    name: str
    make: Callable[[Path], None] | Contents
    told: str
    outcome: str = "invalid_entry"

    def write(self, path: Path) -> None:
        if callable(self.make):
            self.make(path)
        else:
            packed(path, self.make)


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
YAML_BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
)

INTAKE = [
    Intake("lead out of the folder", entry({"../../escape.py": b""}), "leads out of its folder"),
    Intake("name a place on the machine", entry({"/etc/cron.d/x.py": b""}), "is not allowed"),
    Intake("name a drive", entry({"C:\\x.py": b""}), "is not allowed"),
    Intake("name a device of Windows", entry({"plugin/nul.py": b""}), "keeps for a device"),
    Intake("hold a link", link, "is a link"),
    Intake("hold a device", device, "is not a regular file"),
    Intake("hold an archive", entry({"plugin/more.zip": b"PK"}), "is an archive inside"),
    Intake("hold a bomb", bomb, "is compressed"),
    Intake(
        "hold a pickle", entry({"weights.pt": pickle.dumps(Bomb())}), "`.pt` file", "unsafe_weights"
    ),
    Intake("hold weights that are a pickle", entry({"weights.safetensors": pickle.dumps(Bomb())}),
           "weights.safetensors"),
    Intake("lie about the place of a tensor",
           entry({"weights.safetensors": weights({"a": {**TENSOR, "data_offsets": [0, 10**12]}})}),
           "weights.safetensors"),
    Intake("lie about the length of the header",
           entry({"weights.safetensors": struct.pack("<Q", 2**63) + b"{}"}), "weights.safetensors"),
    Intake("change a file after packing", entry(lie=True), "was changed after packing"),
    Intake("leave the manifest out", entry(without="manifest.json"), "manifest.json: is missing"),
    Intake("send a manifest without end", entry({"manifest.json": b"[" * 100_000}), "is wrong"),
    Intake("send a config that grows", entry({"config.yaml": YAML_BOMB}), "config.yaml"),
    Intake("call a function in the config",
           entry({"config.yaml": b"method: !!python/object/apply:os.mkdir [unpickled]\n"}),
           "config.yaml"),
    Intake("use a name twice", entry({"plugin/Method.py": b""}), "stands in the zip twice"),
    Intake("use a name that is no text", no_utf_8, "is not allowed"),
    Intake("say two sizes of one file", lying_length, ""),
    Intake("hide a zip before the zip", hidden_zip, "no file owns"),
    Intake("send code that is too deep", entry({"plugin/deep.py": b"(" * 90_000}), "is not Python"),
    Intake("replace a package", entry({"numpy.py": b"import os\n"}), "does not belong"),
]  # fmt: skip
