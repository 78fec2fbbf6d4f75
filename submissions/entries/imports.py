"""What the Python files of an entry import, and whether the judge's Python will find it.

Nothing of the entry is run, and nothing that it names is imported.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from challenge.configs import spelling
from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries import packages
from challenge.submissions.entries.import_statements import LONGEST, Import, needed
from challenge.submissions.entries.violations import Violation

Parts = tuple[str, ...]


class Files:
    """The Python files of an entry as the loader of plugins sees them: `root` is the package.

    `__init__.py` of the root itself is never run, and a folder needs none to be a package.
    """

    def __init__(self, names: Iterable[str], root: str) -> None:
        self.root = PurePosixPath(root).parts
        found = [PurePosixPath(name).parts for name in names]
        inside = [each[len(self.root) :] for each in found if each[: len(self.root)] == self.root]
        self._files = {each for each in inside if each}
        self._folders = {each[:end] for each in inside for end in range(len(each))}

    def package(self, name: str) -> Parts | None:
        """The folder of a file below the root; None where it lies elsewhere: it is never run."""
        parts = PurePosixPath(name).parts
        return parts[len(self.root) : -1] if parts[: len(self.root)] == self.root else None

    def kind(self, module: Parts) -> str:
        """What a module is, in the order in which Python looks: empty where it is nothing."""
        if not module:
            return "folder"
        if (*module, "__init__.py") in self._files:
            return "package"
        if (*module[:-1], f"{module[-1]}.py") in self._files:
            return "file"
        return "folder" if module in self._folders else ""

    def beside(self, folder: Parts) -> set[str]:
        """Names of the modules in a folder."""
        depth = len(folder)
        files = {each[depth][:-3] for each in self._files if each[:-1] == folder}
        below = {each for each in self._folders if len(each) == depth + 1}
        return (files | {each[-1] for each in below if each[:-1] == folder}) - {"__init__"}


def problems(
    tree: ast.AST, name: str, files: Files, rules: Rules | None, shown: str
) -> Iterator[Violation]:
    """What a file imports and will not get, lazily: each module once, at its first line.

    Args:
        name: of the file in the entry.
        rules: which packages are permitted; None accepts every installed one.
        shown: the zip's name in the problems.
    """
    seen = set()
    package = files.package(name)
    for each in needed(tree):
        module = each.module if each.level else each.module.partition(".")[0]
        key = (each.level, module, each.names if each.level else ())
        if key in seen:
            continue
        seen.add(key)
        if not each.level:
            fault = _absolute(each, module, files, package or (), rules)
        else:
            fault = None if package is None else _relative(each, files, package)
        if fault is not None:
            yield Violation("invalid_entry", f"{shown}/{name}:{each.line}", *fault)


# --- files of the entry -------------------------------------------------------------------------


def _relative(each: Import, files: Files, package: Parts) -> tuple[str, str] | None:
    """Cause and remedy where `from .x import y` finds nothing; walks as the import would."""
    above = each.level - 1
    if above > len(package):
        cause = f"`{each}` leads out of the method's folder"
        return cause, "import with fewer dots; what is imported must lie beside the method"
    here = package[: len(package) - above]
    for word in each.module.split(".") if each.module else ():
        fault = _step(each, files, here, word)
        if fault is not None:
            return fault
        here = (*here, word)
    if files.kind(here) != "folder":  # a file's own names are not looked into
        return None
    words = [word for word in each.names if word != "*"]
    return next((fault for word in words if (fault := _step(each, files, here, word))), None)


def _step(each: Import, files: Files, here: Parts, word: str) -> tuple[str, str] | None:
    """Cause and remedy where the module `here` has no module `word`."""
    inside = files.kind(here) != "file"
    if inside and files.kind((*here, word)):
        return None
    path = "/".join((*files.root, *here, word))[:LONGEST]
    known = sorted(files.beside(here)) if inside else []
    listed = ", ".join(known[:8]) or "none"
    cause = f"`{each}` needs `{path}.py`, which is not in the entry"
    remedy = f"modules there: {listed}; put the file beside the method, then pack again"
    return cause, spelling.did_you_mean(word[:LONGEST], known, remedy)


def _sibling(each: Import, module: str, files: Files, package: Parts) -> str:
    """How a file of the entry is imported, where an absolute import means one."""
    for level in range(1, len(package) + 2):
        folder = package[: len(package) - level + 1]
        if files.kind((*folder, module)):
            dots = "." * level
            if each.names:
                return f"from {dots}{each.module} import {', '.join(each.names[:3])}"[:LONGEST]
            parent, _, last = each.module.rpartition(".")
            return f"from {dots}{parent} import {last}"[:LONGEST]
    return ""


# --- packages -----------------------------------------------------------------------------------


def _absolute(
    each: Import, module: str, files: Files, package: Parts, rules: Rules | None
) -> tuple[str, str] | None:
    """Cause and remedy where a module is not installed, or not permitted."""
    if module == packages.TOOLKIT:
        return None
    short = module[:LONGEST]
    if module in sys.stdlib_module_names:
        if _exists(module):
            return None
        return f"imports `{short}`, which Python does not have on this machine", "do without it"
    owners = packages.providers(module, tuple(sys.path))
    if owners and (rules is None or owners & packages.permitted(rules)):
        return None
    sibling = _sibling(each, module, files, package)
    own = f"a file of the entry is imported as `{sibling}`" if sibling else ""
    if owners:
        named = " or ".join(f"`{owner}`" for owner in sorted(owners)[:3])
        cause = f"imports `{short}` of the package {named}, which the challenge does not permit"
        listed = f"`rules.packages: [{min(owners)}]`"
        return cause, own or f"do without it, or ask the organiser to list it, {listed}"
    cause = f"imports `{short}`, which is not installed on this machine"
    # Packages first: `nunpy` is as near to `runpy` as to `numpy`.
    installed = packages.modules(rules, tuple(sys.path))
    question = spelling.did_you_mean(
        short, {packages.TOOLKIT, *installed}, cutoff=0.7
    ) or spelling.did_you_mean(short, sys.stdlib_module_names, cutoff=0.7)
    needs = "do without it, or ask the organiser to install its package and list it in"
    return cause, own or f"{question} {needs} `rules.packages`".lstrip()


def _exists(module: str) -> bool:
    """Whether a module of the standard library is on this machine; a top-level name only, so
    that finding it imports nothing."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
