"""What of an entry is compared with others: weights, code, settings.

Weights tensor by tensor, by type, shape and bytes, not by names, order or metadata; code by its
syntax tree, without comments, docstrings, layout, file names and the names of what it defines; a
method of the toolkit by its settings. An entry that passed the check is read, never run.
"""

from __future__ import annotations

import ast
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from challenge.configs.loader import flow
from challenge.data.hashing import digest_json
from challenge.methods import syntax
from challenge.submissions.entries import archive, contents, weights
from challenge.submissions.entries.likeness import Likeness
from challenge.submissions.entries.python_files import LONGEST_SOURCE
from challenge.submissions.layout import PLUGIN, WEIGHTS

TENSORS = 64
"""The largest so many of an entry are compared."""
SHORT = 16
"""Hex digits of a tensor's hash."""


def of(entry: Path) -> Likeness:
    """Of an entry that passed the check."""
    members = archive.members(entry, entry.name).members
    with zipfile.ZipFile(entry) as file:
        with file.open(members[WEIGHTS]) as opened:
            tensors = _tensors(opened, members[WEIGHTS].file_size)
        sources = [
            archive.read_small(file, info, LONGEST_SOURCE) or b""
            for name, info in members.items()
            if name.startswith(f"{PLUGIN}/")
        ]
        config = contents.read_config(file, members, entry.name, [])
    settings: Any = dict(config.method) if config else {}
    if sources:
        # A team may call its file and its knobs anything.
        settings.pop("name", None)
        settings = sorted(map(flow, settings.values()))
    else:
        settings = flow(settings)
    trees = sorted(map(_code, sources))
    return Likeness(
        weights=tensors, code=digest_json(trees) if trees else "", method=digest_json(settings)
    )


def _tensors(file: weights.Readable, size: int) -> dict[str, int]:
    """The largest tensors: their bytes by their hashes."""
    stored, _ = weights.read_header(file, size)
    found: list[tuple[int, str]] = []
    for tensor in stored:
        hashed = hashlib.sha256(f"{tensor.dtype}{tensor.shape}".encode())
        left = tensor.end - tensor.begin
        while left:
            piece = file.read(min(left, weights.CHUNK))
            if not piece:
                raise weights.NotSafetensors("is cut off")
            hashed.update(piece)
            left -= len(piece)
        found.append((tensor.end - tensor.begin, hashed.hexdigest()[:SHORT]))
    counted: dict[str, int] = {}
    for size, name in sorted(found, reverse=True)[:TENSORS]:
        counted[name] = counted.get(name, 0) + size
    return counted


class _Plain(ast.NodeTransformer):
    """Leaves out docstrings and imports, and calls names by what they are."""

    def __init__(self, own: dict[str, str], imported: dict[str, str]) -> None:
        self._own, self._imported = own, imported

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("name", "id", "arg", "attr"):
            if isinstance(value := getattr(node, field, None), str):
                known = self._imported.get(value, value) if field == "id" else value
                setattr(node, field, self._own.get(value, known))
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(first := node.body[0], ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:]
        return node


def _code(source: bytes) -> str:
    """Hash of a Python file that is the same for the same code in another dress."""
    try:
        tree = syntax.parse(source)
        own: dict[str, str] = {}
        imported: dict[str, str] = {}
        for node in ast.walk(tree):
            for name, means in _defined(node):
                if means:
                    imported[name] = means
                else:
                    own.setdefault(name, f"_{len(own)}")
        text = ast.dump(_Plain(own, imported).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        text = source.hex()
    return hashlib.sha256(text.encode()).hexdigest()


def _defined(node: ast.AST) -> list[tuple[str, str]]:
    """Names that a file gives, and what is behind them: empty where that is the file's own.

    Own are classes, functions, arguments, variables, attributes and what comes from another file
    of the entry; others are imported, whatever they are called here.
    """
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [(node.name, "")]
    if isinstance(node, ast.arg):
        return [(node.arg, "")]
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [(node.id if isinstance(node, ast.Name) else node.attr, "")]
    if isinstance(node, ast.Import):
        return [
            (each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2
            for each in node.names
        ]
    if isinstance(node, ast.ImportFrom):
        home = "" if node.level else f"{node.module}."
        return [(each.asname or each.name, home and home + each.name) for each in node.names]
    return []
