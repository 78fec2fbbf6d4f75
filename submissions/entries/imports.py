"""What the Python files of an entry import, and whether the judge's Python will find it.

Read from the syntax tree: nothing of the entry is run, and nothing that it names is imported.
Which package a module belongs to is read from the metadata of what is installed.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import PurePosixPath

from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries.violations import Violation

TOOLKIT = "challenge"
"""The distribution and the module of the toolkit itself."""

LONGEST = 80
"""Characters of a module's name that are shown or compared."""

Parts = tuple[str, ...]

_CATCHES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NEEDS = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?", re.DOTALL
)
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Import:
    """One module that a file cannot do without, as it is written there."""

    line: int
    level: int
    """Dots before the name; 0 is absolute."""
    module: str
    names: Parts
    """What is taken from the module; empty for `import module`."""

    def __str__(self) -> str:
        dotted = "." * self.level + self.module
        if not self.names:
            return f"import {dotted}"[:LONGEST]
        return f"from {dotted} import {', '.join(self.names[:3])}"[:LONGEST]


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


def needed(tree: ast.AST) -> list[Import]:
    """The imports of a file that fail when a module is not there, in the order of their lines.

    Left out is what the file does without: in a `try` that catches the error, under
    `TYPE_CHECKING`, or where the file is run as a program.
    """
    found: list[Import] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, 0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(Import(node.lineno, node.level, node.module or "", names))
        else:
            spared = {id(each) for each in _spared(node)}
            todo += [
                each
                for each in ast.iter_child_nodes(node)
                if isinstance(each, ast.stmt | ast.excepthandler | ast.match_case)
                and id(each) not in spared
            ]
    return sorted(found, key=lambda each: each.line)


def _spared(node: ast.AST) -> list[ast.stmt]:
    """The statements below this one whose imports may fail, or are never reached."""
    match node:
        case ast.Try(body=body, handlers=handlers) | ast.TryStar(body=body, handlers=handlers):
            kinds = [each.type for each in handlers]
            return body if any(kind is None or _words(kind) & _CATCHES for kind in kinds) else []
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=body):
            return body
        case ast.If(test=test, body=body):
            return body if "TYPE_CHECKING" in _words(test) else []
        case ast.With(items=items, body=body):
            calls = [each.context_expr for each in items]
            return body if any(_suppresses(call) for call in calls) else []
    return []


def _suppresses(call: ast.expr) -> bool:
    return (
        isinstance(call, ast.Call)
        and "suppress" in _words(call.func)
        and any(_words(each) & _CATCHES for each in call.args)
    )


def _words(node: ast.expr) -> set[str]:
    """The last words of a name, of `module.name`, or of a tuple of them."""
    if isinstance(node, ast.Tuple):
        return set().union(*(_words(each) for each in node.elts if not isinstance(each, ast.Tuple)))
    if isinstance(node, ast.Name):
        return {node.id}
    return {node.attr} if isinstance(node, ast.Attribute) else set()


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
    close = difflib.get_close_matches(word[:LONGEST], known, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    listed = ", ".join(known[:8]) or "none"
    cause = f"`{each}` needs `{path}.py`, which is not in the entry"
    return cause, f"{hint}modules there: {listed}; put the file beside the method, then pack again"


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
    if module == TOOLKIT:
        return None
    short = module[:LONGEST]
    if module in sys.stdlib_module_names:
        if _exists(module):
            return None
        return f"imports `{short}`, which Python does not have on this machine", "do without it"
    owners = providers(module, tuple(sys.path))
    if owners and (rules is None or owners & permitted(rules)):
        return None
    meant = _sibling(each, module, files, package)
    own = f"a file of the entry is imported as `{meant}`" if meant else ""
    if owners:
        named = " or ".join(f"`{owner}`" for owner in sorted(owners)[:3])
        cause = f"imports `{short}` of the package {named}, which the challenge does not permit"
        listed = f"`rules.packages: [{min(owners)}]`"
        return cause, own or f"do without it, or ask the organiser to list it, {listed}"
    cause = f"imports `{short}`, which is not installed on this machine"
    # Packages first: `nunpy` is as near to `runpy` as to `numpy`.
    known = {TOOLKIT, *_modules(rules, tuple(sys.path))}, sys.stdlib_module_names
    near = (difflib.get_close_matches(short, sorted(names), n=1, cutoff=0.7) for names in known)
    close = next(filter(None, near), [])
    hint = f"did you mean `{close[0]}`? " if close else ""
    needs = "do without it, or ask the organiser to install its package and list it in"
    return cause, own or f"{hint}{needs} `rules.packages`"


def permitted(rules: Rules) -> frozenset[str]:
    """The distributions whose modules an entry may import, their names in the one normal form."""
    return _toolkit(tuple(sys.path)) | listed(rules)


def listed(rules: Rules) -> frozenset[str]:
    """The distributions that the organiser permits beside the toolkit's own."""
    return frozenset(map(canonical, rules.packages))


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it: `Scikit_Image` is `scikit-image`."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def providers(module: str, path: tuple[str, ...]) -> frozenset[str]:
    """The installed distributions that have a top-level module; `path` is Python's search path.

    From their metadata: importing, or looking where the module lies, could not tell a package
    from a file that happens to be in the current folder.
    """
    return frozenset(
        canonical(each.metadata["Name"] or "")
        for each in metadata.distributions(path=list(path))
        if _has(each, module)
    )


def _has(distribution: metadata.Distribution, module: str) -> bool:
    declared = distribution.read_text("top_level.txt")
    if declared and module in declared.split():
        return True
    # Whole text, not line by line: torch alone records 15,000 files.
    record = "\n" + (distribution.read_text("RECORD") or "")
    return bool(re.search(rf"\n{re.escape(module)}(/|\.[^/\n,]*(py|so|pyd),)", record))


@cache
def _toolkit(path: tuple[str, ...]) -> frozenset[str]:
    """The toolkit and what it needs, with what that needs in turn.

    Markers of platform and Python version are not evaluated: what one machine permits, all do.
    """
    found: set[tuple[str, str]] = set()
    todo = [(TOOLKIT, "")]
    while todo:
        name, extra = todo.pop()
        if (canonical(name), extra) in found:
            continue
        found.add((canonical(name), extra))
        distribution = next(iter(metadata.distributions(name=name, path=list(path))), None)
        for needs in _requires(distribution) if distribution else ():
            parsed = _NEEDS.fullmatch(needs)
            if parsed is None:
                continue
            wanted, extras, marker = parsed.groups()
            of = _EXTRA.search(marker or "")
            if of is None or canonical(of[1]) == extra:
                todo.append((wanted, ""))
                todo += [(wanted, canonical(each)) for each in _NAME.findall(extras or "")]
    return frozenset(name for name, _ in found)


def _requires(distribution: metadata.Distribution) -> list[str]:
    """What a distribution needs. Read here: the library parses long descriptions too, as mail."""
    text = distribution.read_text("METADATA")
    if text is None:
        return distribution.requires or []
    return re.findall(r"^Requires-Dist: *(.*)$", text.partition("\n\n")[0], re.MULTILINE)


def _modules(rules: Rules | None, path: tuple[str, ...]) -> Iterator[str]:
    """The modules that an entry may import, for the remedy of a misspelt one."""
    for module, names in _installed(path).items():
        if rules is None or {*map(canonical, names)} & permitted(rules):
            yield module


@cache
def _installed(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Every top-level module of the environment, and the distributions it is of."""
    return metadata.packages_distributions()


def _exists(module: str) -> bool:
    """Whether a module of the standard library is on this machine; a top-level name only, so
    that finding it imports nothing."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
