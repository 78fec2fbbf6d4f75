"""Ways to spoil a file: byte by byte, and with knowledge of JSON, YAML, Python, tensors and zips.

A mutant is a function of a random generator and a valid file. Whoever parses survives random
bytes by refusing them at the first one; what is nearly right gets further.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

LONGEST = 300_000
"""Bytes of a mutant, beside the few that are made to reach a reader's own limits."""

EXTREMES = [0, 1, 2, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31,
            2**32 - 1, 2**53, 2**60, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
PIECES = [b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\r",
          b"\n", b"\x1b[2J", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06",
          b"PK\x06\x07", b"\xe2\x80\xae", b"\xf4\x90\x80\x80", b"{", b"}", b"[", b"]", b'"', b"'",
          b"\\", b":", b",", b"-", b"#", b"0", b"9" * 400]  # fmt: skip


# --- bytes --------------------------------------------------------------------------------------


def _span(rng: Random, size: int) -> slice:
    """A piece of a file: mostly a short one."""
    begin = rng.randrange(size + 1)
    length = rng.choice([1, 2, 4, 8, 16, 64, 256, 4096, size])
    return slice(begin, begin + rng.randint(0, length))


def _flip(rng: Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(rng: Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def _insert(rng: Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice([*PIECES, rng.randbytes(rng.randrange(1, 40))])


def _number(rng: Random, data: bytearray) -> None:
    """Overwrite 2, 4 or 8 bytes, as a length or an offset would stand there."""
    width = rng.choice([2, 4, 8])
    if len(data) >= width:
        at = rng.choice([0, rng.randrange(len(data) - width + 1)])
        value = rng.choice([*EXTREMES, len(data), len(data) - 8, len(data) + 1])
        data[at : at + width] = (value % 2 ** (8 * width)).to_bytes(
            width, rng.choice(["little", "big"])
        )


def _cut(rng: Random, data: bytearray) -> None:
    del data[_span(rng, len(data))]


def _truncate(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _repeat(rng: Random, data: bytearray) -> None:
    piece = data[_span(rng, len(data))]
    at = rng.randrange(len(data) + 1)
    times = rng.choice([1, 1, 2, 3, 100, 10_000])
    data[at:at] = piece * min(times, LONGEST // max(1, len(piece)))


def _swap(rng: Random, data: bytearray) -> None:
    one, other = _span(rng, len(data)), _span(rng, len(data))
    data[one], data[other] = data[other], data[one]


BYTES = [_flip, _flip, _byte, _insert, _number, _cut, _truncate, _repeat, _swap]


def of_bytes(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Spoil any file; `other` is a second one that a part may be taken from."""
    found = bytearray(data)
    if other and rng.random() < 0.1:
        found[_span(rng, len(found))] = other[_span(rng, len(other))]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        rng.choice(BYTES)(rng, found)
    return bytes(found[:LONGEST])


# --- JSON ---------------------------------------------------------------------------------------


class Raw(str):
    """Text that is written as it is."""


class Pairs(list[Any]):
    """An object, in which a name may stand twice."""


def _deep(rng: Random, left: str, right: str) -> Raw:
    depth = rng.choice([10, 100, 1_000, 50_000])
    return Raw(left * depth + rng.choice(["", "1"]) + right * depth)


def _value(rng: Random) -> Any:
    """A value that no field expects."""
    digits = "9" * rng.choice([20, 300, 4_300, 4_301, 100_000])
    return rng.choice(
        [None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, -(2**63) - 1, [], Pairs(), "", "x",
         "\x00", [1, 2], [[], []], Pairs([("a", 1)]), "\u202e", "é" * 50, "x" * 100_000, "../../x",
         "0" * 64, Raw(digits), Raw("-" + digits), Raw(digits + ".5"), Raw("1e" + digits[:30]),
         Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("-0"), Raw("1.0"), Raw("01"),
         Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\u0000"'), Raw('"\x01"'), Raw("'x'"),
         Raw("nul"), Raw(""), Raw('"\\q"'), _deep(rng, "[", "]"), _deep(rng, '{"a":', "}"),
         _deep(rng, "[", ""), Raw("[" + "0," * 20_000 + "0]")]
    )  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{_text(name)}:{_text(each)}" for name, each in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _spoil(rng: Random, holder: list[Any]) -> None:
    """Change one place of a list or an object, most of the time deep inside."""
    if not holder:
        holder.append(("x", _value(rng)) if isinstance(holder, Pairs) else _value(rng))
        return
    at = rng.randrange(len(holder))
    named = isinstance(holder, Pairs)
    name, value = holder[at] if named else ("", holder[at])
    if isinstance(value, list) and rng.random() < 0.8:
        _spoil(rng, value)
        return
    what = rng.randrange(6)
    if what == 0:
        del holder[at]
    elif what == 1:
        holder.append(holder[at])
    elif what == 2 and named:
        holder[at] = (rng.choice([f"{name}x", "", _value(rng)]), value)
        if not isinstance(holder[at][0], str):
            holder[at] = ("__metadata__", value)
    else:
        fresh = value + rng.choice([-1, 1, 8, 2**32]) if type(value) is int else _value(rng)
        fresh = rng.choice([fresh, _value(rng)])
        holder[at] = (name, fresh) if named else fresh


def of_json(rng: Random, data: bytes) -> bytes:
    """Spoil the values, the names and the shape of a JSON object."""
    tree = json.loads(data, object_pairs_hook=Pairs)
    for _ in range(rng.choice([1, 1, 2, 4])):
        _spoil(rng, tree)
    found = _text(tree).encode("utf-8", "surrogatepass")
    if rng.random() < 0.05:
        found = rng.choice([b"\xef\xbb\xbf" + found,
                            found.decode("utf-8", "replace").encode("utf-16"), found + b" " * 1000,
                            found + found, b" \n" + found])  # fmt: skip
    return found


# --- YAML ---------------------------------------------------------------------------------------

WORDS = ["&a ", "*a", "!!python/object/apply:os.system ", "!!binary ", "! ", "!<tag:x> ", "!!set ",
         "<<: ", "? ", "- ", "-", ": ", ":", ", ", "[", "]", "{", "}", "| ", ">-\n", "'", '"', "#",
         " #", "%YAML 1.1\n", "%TAG ! x\n", "---\n", "--- ", "...\n", "\t", "\0", "\ufeff", "\x85",
         "\u2028", "\u2029", "\xa0", "\u202e", "\U0001f600", "e\u0301", "\x1b", "\x7f", "\ufffe",
         "\uffff", "\r", "\r\n", "@", "`", "\\", "\\x", "=", "null", "~", "true", "yes", ".inf",
         "-.inf", ".nan", "1e999", "-1e999", "1e-999", "0x", "0o8", "0b1", "1_0", "12:30:45",
         "190:20:30", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59",
         "9999-12-31T23:59:59.999-23:59", "2026-12-04T17:00:00Z", "-0", "+", ".", "..", "1.", ".5",
         "1e5", "[0.01, 0.05]", "[1, [2, [3]]]", "{a: 1, a: 2}", "{kind: gaussian}",
         "{file: x.npy}", "{name: tv}", "deblur", "\"\\ud800\"", "\"\\U00110000\"", "\"\\x00\"",
         "\"\\\n\""]  # fmt: skip


def _word(rng: Random) -> str:
    if rng.random() < 0.9:
        return rng.choice(WORDS)
    size = rng.choice([40, 1_100, 30_000])
    return rng.choice(
        ["[" * size, "{a: " * size, "- " * size, "? " * size, "9" * size, "k" * size, "1, " * size,
         "&a 1, " * size, "*a , " * size, "a: 1\n" * size, " " * size, "\n" * size, "a: {" * size,
         "".join(f"{' ' * depth}a:\n" for depth in range(min(size, 200))), "'" * size, "\\" * size,
         "!" * size, "é" * size, "0x" + "f" * size, "a: &a [*a]\n" * size]
    )  # fmt: skip


def of_yaml(rng: Random, data: bytes) -> bytes:
    """Spoil the lines, the values and the indentation of a YAML file."""
    lines = data.decode("utf-8", "replace").splitlines(keepends=True) or [""]
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(lines))
        line = lines[at]
        match rng.randrange(8):
            case 0 | 1:
                column = rng.randrange(len(line) + 1)
                lines[at] = line[:column] + _word(rng) + line[column:]
            case 2 | 3:
                lines[at] = re.sub(r":.*", lambda _: ": " + _word(rng), line, count=1)
            case 4:
                lines[at] = " " * rng.randrange(6) + line.lstrip(" ")
            case 5:
                lines.insert(rng.randrange(len(lines) + 1), rng.choice([line, _word(rng) + "\n"]))
            case 6 if len(lines) > 1:
                del lines[at]
            case _:
                lines[at] = line.rstrip("\n") + rng.choice(["", " ", "  "])
    found = "".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.03:
        found = rng.choice([b"\xef\xbb\xbf" + found,
                            found.decode("utf-8", "replace").encode("utf-16"),
                            found.replace(b"\n", b"\r\n"), found + b"#" * 100_000
                           ])  # fmt: skip
    return found


# --- Python -------------------------------------------------------------------------------------

STATEMENTS = ["import x", "import torch.nn.x", "import " + "x" * 5_000, "from . import x",
              "from .x import y", "from ..... import x", "from . import *", "import os, x.y as z",
              "try:\n import x\nexcept* OSError: pass",
              "try:\n import x\nexcept (A, (B, C)): pass", "try:\n import x\nfinally: pass",
              "if TYPE_CHECKING: import x", "with suppress(*a, **b): import x",
              "with a() as b, c: import x", "if x < 1: import x", "match x:\n case {}: import x",
              "class Mine: import x", "lambda: (yield)", "(" * 100 + ")" * 100, "(" * 300,
              "x = " + "-" * 30_000 + "1", "x = " + "+1" * 30_000, "x = " + "9" * 5_000,
              "f'{f'{1}'}'", "\0", "\f", "\\", "# coding: utf-7", "é = 1", "\u202e",
              "if 1:\n" * 120, "async def f(): await x", "x = '" + "a" * 90_000 + "'",
              "class A: pass\n" * 2_000, "import x\n" * 2_000, "from __future__ import braces",
              "return", "def f(:", "\tx = 1\n        y = 2"]  # fmt: skip


def of_python(rng: Random, data: bytes) -> bytes:
    """Spoil a Python file by its lines."""
    lines = data.decode().split("\n")
    for _ in range(rng.choice([1, 1, 2, 4])):
        indent = " " * rng.choice([0, 0, 0, 1, 4, 8])
        statement = rng.choice(STATEMENTS).replace("\n", "\n" + indent)
        lines.insert(rng.randrange(len(lines) + 1), indent + statement)
    if rng.random() < 0.1:
        lines.insert(
            0, "# -*- coding: " + rng.choice(["latin-1", "utf-16", "rot13", "nothing", "hex"])
        )
    return "\n".join(lines).encode("utf-8", "surrogatepass")


# --- safetensors --------------------------------------------------------------------------------


def of_tensors(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Spoil the header, what it says of the bytes, or the bytes of a safetensors file."""
    (length,) = struct.unpack_from("<Q", data)
    header, content = data[8 : 8 + length], data[8 + length :]
    what = rng.randrange(8)
    if what < 4:
        header = of_json(rng, header)
    elif what == 4:
        header = of_bytes(rng, header)
    elif what == 5:
        content = of_bytes(rng, content, other)
    elif what == 6:  # values, of which some are NaN or infinite, and the sizes stay
        found = bytearray(content)
        for _ in range(rng.randrange(1, 20)):
            at = rng.randrange(len(found))
            found[at : at + 2] = rng.choice([b"\x80\x7f", b"\xf0\x7f", b"\x00\x7c", b"\xff\xff"])
        content = bytes(found[: len(content)])
    else:
        return of_bytes(rng, data, other)
    length = len(header) if rng.random() < 0.95 else rng.choice(EXTREMES)
    return struct.pack("<Q", length) + header + content


# --- zips ---------------------------------------------------------------------------------------

NAMES = ["../x.py", "/x.py", "plugin/../x.py", "plugin//x.py", "plugin/x.py ", "plugin/x.py\0.txt",
         "C:/x.py", "plugin\\x.py", "plugin/", "", ".", "plugin", "plugin/method.py/x.py",
         "plugin/CON.py", "x.pt", "plugin/x.zip", "plugin/é.py", "plugin/\u202e.py",
         "PLUGIN/METHOD.PY", "a" * 60_000 + ".py", "plugin/" + "a/" * 3_000 + "x.py",
         "plugin/\x1b[2J.py", "plugin/x.py\n", "weights.safetensors"]  # fmt: skip
FIELDS = {
    b"PK\x03\x04": [(4, 2), (6, 2), (8, 2), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\x01\x02": [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 4), (24, 4), (28, 2),
                    (30, 2), (32, 2), (34, 2), (36, 2), (38, 4), (42, 4)],
    b"PK\x05\x06": [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
}  # fmt: skip
"""Where the numbers stand behind each mark of a zip, and how many bytes they have."""


def _fields(rng: Random, data: bytes) -> bytes:
    """Let the zip's own records lie."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        mark = rng.choice(list(FIELDS))
        places = [each.start() for each in re.finditer(re.escape(mark), found)]
        at, (offset, width) = rng.choice(places), rng.choice(FIELDS[mark])
        old = int.from_bytes(found[at + offset :][:width], "little")
        value = rng.choice(
            [*EXTREMES, old + 1, old - 1, old * 2, old ^ 8, len(data), rng.choice(places)]
        )
        found[at + offset : at + offset + width] = (value % 2 ** (8 * width)).to_bytes(
            width, "little"
        )
    return bytes(found)


def _described(contents: dict[str, bytes]) -> None:
    """Write the sizes and hashes into the manifest, as a careful cheat would."""
    facts = json.loads(contents["manifest.json"])
    facts["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in contents.items()
        if name != "manifest.json"
    }
    contents["manifest.json"] = json.dumps(facts).encode()


def _packed(rng: Random, contents: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            if rng.random() < 0.02:
                info.compress_type = zipfile.ZIP_DEFLATED
            if rng.random() < 0.02:
                info.external_attr = rng.choice([0o120777, 0o040755, 0o010644, 0xFFFF]) << 16
            if rng.random() < 0.02:
                info.extra = rng.choice(
                    [b"\x01\x00\x00\x00", struct.pack("<2H2Q", 1, 16, 1, 1), b"xx"]
                )
            file.writestr(info, content)
    return target.getvalue()


Mutant = Callable[[Random, bytes], bytes]
MEMBERS: dict[str, Mutant] = {
    "manifest.json": of_json,
    "config.yaml": of_yaml,
    "weights.safetensors": of_tensors,
    "plugin/method.py": of_python,
    "plugin/blocks.py": of_python,
}


def of_entry(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Spoil an entry: the zip around it, or what is in it with all sizes and hashes right."""
    what = rng.random()
    if what < 0.2:
        return of_bytes(rng, data, other)
    if what < 0.4:
        return _fields(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(list(MEMBERS))
        mutant = of_bytes if rng.random() < 0.2 else MEMBERS[name]
        if name in contents and (name != "manifest.json" or rng.random() < 0.5):
            try:
                contents[name] = mutant(rng, contents[name])
            except (ValueError, RecursionError, struct.error):  # it is spoilt already
                contents[name] = of_bytes(rng, contents[name])
    if rng.random() < 0.3:
        contents[rng.choice(NAMES)] = rng.choice([b"", b"x = 1\n", data[:1000]])
    if rng.random() < 0.05:
        contents |= {f"plugin/x{number}.py": b"" for number in range(rng.choice([10, 2_001]))}
    if rng.random() < 0.1:
        contents.pop(rng.choice(list(contents)))
    try:
        if rng.random() < 0.8:
            _described(contents)
    except (KeyError, ValueError, TypeError, RecursionError, AttributeError):
        pass
    found = _packed(rng, contents)
    return _fields(rng, found) if rng.random() < 0.1 else found
