"""The loader of a team's own method: `my_team/method.py:Mine`, siblings importable as `.blocks`."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path, PurePath
from types import ModuleType
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.methods import syntax

if TYPE_CHECKING:
    from challenge.methods.contract import Method


PACKAGES = "challenge_plugin_"
"""What the names of the packages begin with that a team's files are imported as."""


def is_plugin(name: str) -> bool:
    """Whether a method's name is a file (`path/file.py` or `path/file.py:Class`), not a word."""
    return name.partition(":")[0].endswith(".py")


def locate(name: str, base: Path) -> tuple[Path, str]:
    """The file and the class name (may be empty) of a plugin; looked up in `base`, then here.

    Raises:
        UserError: there is no such file, or its name is not a Python identifier.
    """
    file_name, _, class_name = name.partition(":")
    tried = [base / file_name, Path(file_name)]
    for path in tried:
        if path.is_file():
            if not path.stem.isidentifier():
                raise UserError.of(
                    path, "its name cannot be imported", "use letters, digits and `_` only"
                )
            return path.resolve(), class_name
    places = " or ".join(f"`{path}`" for path in dict.fromkeys(tried))
    raise UserError.of(
        name, f"there is no file {places}", "give the path from here or from the config's folder"
    )


def files(folder: Path) -> list[Path]:
    """The Python files that belong to a plugin: all below its folder, hidden ones left out.

    Sorted, relative to the folder. Links are left out: they could lead anywhere.
    """
    found = []
    for path in folder.rglob("*.py"):
        relative = path.relative_to(folder)
        linked = any((folder / parent).is_symlink() for parent in [relative, *relative.parents])
        if not is_hidden(relative) and not linked:
            found.append(relative)
    return sorted(found)


def is_hidden(path: PurePath) -> bool:
    """Whether a file of a plugin's folder is left out: its name says that it is not for others."""
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def load(name: str, base: Path) -> type[Method]:
    """Import a team's file and return its method class. This runs the team's code.

    The folder becomes a package under a private name made from its path, so that two teams may
    both have a `method.py`, siblings import each other, and `sys.path` stays as it is.

    Raises:
        UserError: no such file, not Python, not exactly one `Method` in it, or one that cannot be
            called as the toolkit calls it; or it ends Python, or imports what is not there, or lies
            beside it, as a package.
    """
    from challenge.methods.contract import Method

    path, class_name = locate(name, base)
    _tree(path)
    module = _import(path)
    found = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    }
    bases = {base for value in found.values() for base in value.__mro__[1:]}
    if class_name:
        if class_name in found:
            return _callable(found[class_name], path)
        known = ", ".join(f"`{key}`" for key in sorted(found)) or "none"
        raise UserError.of(path, f"has no method class `{class_name}`", f"its methods: {known}")
    # A base class of the team's own is there for the one that is derived from it.
    leaves = [value for value in found.values() if value not in bases]
    if len(leaves) == 1:
        return _callable(leaves[0], path)
    if not found:
        raise UserError.of(
            path,
            "defines no method",
            "write `class Mine(Method)` with a `forward(self, y, physics)`",
        )
    names = ", ".join(f"`{key}`" for key in sorted(found))
    raise UserError.of(
        path, f"defines {len(found)} methods: {names}", f"name one: `{name}:{min(found)}`"
    )


CALLS = {"forward": ("y", "physics"), "fit": ("problem", "images", "train", "session")}
"""What the toolkit calls of a method, by position."""


def _callable(method: type[Method], path: Path) -> type[Method]:
    """The method, where it takes what it will be given."""
    for name, arguments in CALLS.items():
        own = isinstance(inspect.getattr_static(method, name), staticmethod | classmethod)
        try:
            inspect.signature(getattr(method, name)).bind(*([None] * (not own)), *arguments)
        except TypeError:
            wanted = f"def {name}({', '.join(('self', *arguments))})"
            cause = f"`{method.__name__}.{name}` cannot be called with {', '.join(arguments)}"
            raise UserError.of(path, cause, f"write `{wanted}`") from None
    return method


def _tree(path: Path) -> ast.Module:
    try:
        return syntax.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else str(path)
        raise UserError.of(place, f"is not Python: {getattr(error, 'msg', error)}") from error


def _import(path: Path) -> ModuleType:
    folder = path.parent
    package = PACKAGES + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    # A file that changed since it was imported (in a notebook) is imported anew.
    for name in [key for key in sys.modules if key == package or key.startswith(package + ".")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    try:
        made = importlib.import_module(f"{package}.{path.stem}")
    except ModuleNotFoundError as error:
        _take_back(before, folder, package)
        explain(error, folder)
        raise
    except SystemExit as error:
        cause = f"ends Python while it is imported ({error})"
        remedy = "put what is a script's under `if __name__ == '__main__':`"
        raise UserError.of(path, cause, remedy) from None
    # Python found it in the folder of today, which the judge does not have.
    if word := _take_back(before, folder, package):
        raise _sibling(str(path), word)
    return made


def _take_back(before: set[str], folder: Path, package: str) -> str:
    """Forget modules of the folder that were imported under another name; that of one of them."""
    new = sys.modules.keys() - before
    words = sorted({name.partition(".")[0] for name in new} - {package})
    own = [word for word in words if word in sys.modules and _lies_in(folder, word)]
    for name in new:
        if name.partition(".")[0] in own:
            del sys.modules[name]
    return own[0] if own else ""


def _lies_in(folder: Path, word: str) -> bool:
    """Whether a module that was imported as `word` is the file or the folder of this name there."""
    module = sys.modules[word]
    places = {getattr(module, "__file__", None), *getattr(module, "__path__", [])}
    expected = folder / f"{word}.py", folder / word, folder / word / "__init__.py"
    return any(str(each) in places for each in expected)


def explain(error: ModuleNotFoundError, folder: Path) -> None:
    """Raise `UserError` where a file of the folder imports what is not there under this name."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if Path(each.filename).is_relative_to(folder)]
    if error.name is None or not own:
        return
    word, _, inside = error.name.partition(".")
    place = f"{own[-1].filename}:{own[-1].lineno}"
    if word.startswith(PACKAGES):
        file = inside.replace(".", "/")
        cause = f"imports `{file}.py` of the method's folder, which is not there"
        raise UserError.of(place, cause, "look at its name, and at the dots before it") from None
    if word == "challenge":
        return
    for home in (Path(own[-1].filename).parent, folder):
        if (home / f"{word}.py").is_file() or (home / word).is_dir():
            raise _sibling(place, word) from None
    raise UserError.of(
        place,
        f"imports `{word}`, which is not installed",
        f"`pip install` its package, which the challenge must permit, or put `{word}.py` beside "
        f"the method and write `from .{word} import ...`",
    ) from None


def _sibling(place: str, word: str) -> UserError:
    return UserError.of(
        place,
        f"imports `{word}` as a package, and it is a file of the method's folder",
        f"write `from .{word} import ...`, or `from . import {word}`, with the dot",
    )
